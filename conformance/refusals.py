"""Calls that must fail: with which code, and where scripts read the text, with which words."""

import pytest
from botocore.exceptions import ClientError


def refused(code, call, saying=None, **arguments):
    """Fails unless `call(**arguments)` answers error `code`; returns its message."""
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    error = caught.value.response["Error"]
    assert error["Code"] == code, error
    if saying is not None:
        assert saying in error["Message"], error
    return error["Message"]
