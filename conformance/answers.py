"""Holding answers against AWS's own service models. botocore reads answers leniently: it drops
members it doesn't know and takes what it gets for the rest. Strict SDKs don't, so here every raw
answer is compared with the model before botocore sees it: unknown members, wrong types, missing
required ones, values outside an enumeration, and errors that the operation can't give."""

import base64
import binascii
import json
import re
import xml.etree.ElementTree as ElementTree

# Errors that any operation of a JSON service may answer, whatever its model says.
COMMON_ERRORS = {
    "AccessDeniedException",
    "ExpiredTokenException",
    "IncompleteSignatureException",
    "InternalFailure",
    "InvalidSignatureException",
    "MissingAuthenticationTokenException",
    "SerializationException",
    "ThrottlingException",
    "UnknownOperationException",
    "UnrecognizedClientException",
    "UnsupportedFeatureException",
    "UnsupportedOperationException",
    "ValidationException",
}

# What EC2 itself answers and its model does not list: gateways are `available` where the model
# says attached, states of endpoints are in lower case, and a NAT gateway's interface is a
# nat_gateway. Terraform's provider, for one, waits for these words.
ANSWERED_BY_AWS = {
    "AttachmentStatus": {"available"},
    "State": {"available", "pending", "deleting", "deleted"},
    "NetworkInterfaceType": {"nat_gateway"},
}


def watch(client):
    """Every answer this client gets from now on is compared with its model."""
    client.meta.events.register("before-parse", _before_parse)


def _before_parse(operation_model, response_dict, **_):
    faults = check(operation_model, response_dict)
    if faults:
        name = operation_model.name
        body = response_dict["body"][:2000]
        raise AssertionError(f"{name} answered what its model forbids: {faults}\nbody: {body!r}")


def check(operation, response):
    """The list of what is wrong with a raw answer."""
    headers = {key.lower(): value for key, value in response["headers"].items()}
    faults = []
    if not headers.get("x-amzn-requestid"):
        faults.append("no x-amzn-RequestId header")
    protocol = operation.service_model.resolved_protocol
    if protocol == "json":
        faults += _check_json(operation, response, headers)
    elif protocol in ("query", "ec2"):
        faults += _check_xml(operation, response, protocol)
    else:
        faults.append(f"this suite can't check protocol {protocol}")
    return faults


def _check_json(operation, response, headers):
    version = operation.service_model.metadata["jsonVersion"]
    faults = []
    if headers.get("content-type") != f"application/x-amz-json-{version}":
        faults.append(f"content type {headers.get('content-type')!r}")
    body = response["body"]
    if response["status_code"] < 300 and operation.output_shape is None:
        return faults + ([] if body in (b"", b"{}") else [f"a body where none belongs: {body!r}"])
    try:
        value = json.loads(body)
    except ValueError as error:
        return [*faults, f"not JSON: {error}"]
    if response["status_code"] >= 300:
        return faults + _check_json_error(operation, response, value)
    return faults + list(shape_faults(operation.output_shape, value, ""))


def _check_json_error(operation, response, value):
    status = response["status_code"]
    if not isinstance(value, dict) or not isinstance(value.get("__type"), str):
        return [f"an error of status {status} without a `__type` string"]
    code = value["__type"].split("#")[-1]
    if not isinstance(value.get("message", value.get("Message")), str):
        return [f"error {code} has no message"]
    shapes = {shape.name: shape for shape in operation.error_shapes}
    if code not in shapes:
        return [] if code in COMMON_ERRORS else [f"{operation.name} has no error {code}"]
    faults = []
    expected = shapes[code].metadata.get("error", {}).get("httpStatusCode")
    # The model marks the service's own faults, but botocore's public view leaves the mark out.
    own = operation.service_model._shape_resolver._shape_map[code].get("fault")
    expected = expected or (500 if own else 400)
    if status != expected:
        faults.append(f"error {code} has status {status}, not {expected}")
    members = {key: it for key, it in value.items() if key != "__type"}
    if "message" not in shapes[code].members and "Message" not in shapes[code].members:
        members = {key: it for key, it in members.items() if key.lower() != "message"}
    return faults + list(shape_faults(shapes[code], members, code))


def shape_faults(shape, value, path):
    """What of a decoded JSON value does not fit a shape."""
    kind = shape.type_name
    if kind == "structure":
        yield from _structure_faults(shape, value, path)
    elif kind == "list":
        if not isinstance(value, list):
            yield f"{path or '/'}: {value!r} is no list"
            return
        for index, member in enumerate(value):
            yield from shape_faults(shape.member, member, f"{path}[{index}]")
    elif kind == "map":
        if not isinstance(value, dict):
            yield f"{path or '/'}: {value!r} is no map"
            return
        for key, member in value.items():
            yield from shape_faults(shape.key, key, f"{path}.{key} (the key)")
            yield from shape_faults(shape.value, member, f"{path}.{key}")
    else:
        yield from _scalar_faults(shape, value, path)


def _structure_faults(shape, value, path):
    if not isinstance(value, dict):
        yield f"{path or '/'}: {value!r} is no structure"
        return
    names = {it.serialization.get("name", name): it for name, it in shape.members.items()}
    for name in shape.required_members:
        wire = shape.members[name].serialization.get("name", name)
        if wire not in value:
            yield f"{path}.{wire} is required"
    for key, member in value.items():
        if key not in names:
            yield f"{path}.{key} is not in {shape.name}"
        elif member is None:
            yield f"{path}.{key} is null: AWS leaves such members out"
        else:
            yield from shape_faults(names[key], member, f"{path}.{key}")


def _scalar_faults(shape, value, path):
    kind = shape.type_name
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    whole = isinstance(value, int) and not isinstance(value, bool)
    if kind == "string":
        if not isinstance(value, str):
            yield f"{path}: {value!r} is no string"
        elif shape.enum and value not in shape.enum:
            yield f"{path}: {value!r} is none of {shape.enum}"
    elif kind in ("integer", "long"):
        bits = 31 if kind == "integer" else 63
        if not whole or not -(2**bits) <= value < 2**bits:
            yield f"{path}: {value!r} is no {kind}"
    elif kind in ("float", "double"):
        if not number:
            yield f"{path}: {value!r} is no number"
    elif kind == "boolean":
        if not isinstance(value, bool):
            yield f"{path}: {value!r} is no boolean"
    elif kind == "timestamp":
        # Seconds; a value in milliseconds would lie in the year 50000.
        if not number or not 946684800 < value < 4102444800:
            yield f"{path}: {value!r} is no time in seconds of this century"
    elif kind == "blob":
        try:
            base64.b64decode(value, validate=True)
        except (TypeError, binascii.Error):
            yield f"{path}: {value!r} is no base64"


def _check_xml(operation, response, protocol):
    try:
        root = ElementTree.fromstring(response["body"])
    except ElementTree.ParseError as error:
        return [f"not XML: {error}"]
    _drop_namespaces(root)
    if response["status_code"] >= 300:
        return _check_xml_error(root, protocol)
    faults = []
    if root.tag != f"{operation.name}Response":
        faults.append(f"the root is <{root.tag}>")
    shape = operation.output_shape
    if protocol == "ec2":
        ids = [child for child in root if child.tag == "requestId"]
        body = [child for child in root if child.tag != "requestId"]
        if len(ids) != 1:
            faults.append("no requestId")
    else:
        if not root.findtext("ResponseMetadata/RequestId"):
            faults.append("no ResponseMetadata/RequestId")
        wrapper = shape.serialization.get("resultWrapper") if shape else None
        result = root.find(wrapper) if wrapper else None
        if wrapper and result is None:
            return [*faults, f"no <{wrapper}>"]
        body = list(result) if result is not None else []
    if shape is not None:
        faults += _xml_members(shape, body, operation.name, protocol)
    return faults


def _check_xml_error(root, protocol):
    wanted = ["Errors/Error/Code", "Errors/Error/Message", "RequestID"]
    if protocol == "query":
        wanted = ["Error/Type", "Error/Code", "Error/Message", "RequestId"]
    name = "ErrorResponse" if protocol == "query" else "Response"
    faults = [] if root.tag == name else [f"the root is <{root.tag}>, not <{name}>"]
    return faults + [f"no {path}" for path in wanted if root.find(path) is None]


def _drop_namespaces(root):
    for element in root.iter():
        element.tag = re.sub(r"^\{.*\}", "", element.tag)


def _xml_members(shape, elements, path, protocol):
    names = {it.serialization.get("name", name): it for name, it in shape.members.items()}
    for name, member in shape.members.items():
        if member.type_name == "list" and member.serialization.get("flattened"):
            names[member.member.serialization.get("name", name)] = member
    seen = {element.tag for element in elements}
    faults = [
        f"{path}.{name} is required"
        for name in shape.required_members
        if shape.members[name].serialization.get("name", name) not in seen
    ]
    for element in elements:
        member = names.get(element.tag)
        if member is None:
            faults.append(f"{path}.{element.tag} is not in {shape.name}")
        else:
            faults += _xml_value(member, element, f"{path}.{element.tag}", protocol)
    return faults


def _xml_value(shape, element, path, protocol):
    kind = shape.type_name
    if kind == "structure":
        return _xml_members(shape, list(element), path, protocol)
    if kind == "list":
        name = shape.member.serialization.get("name", "member")
        if shape.serialization.get("flattened"):
            return _xml_value(shape.member, element, path, protocol)
        faults = []
        for index, child in enumerate(element):
            if child.tag != name:
                faults.append(f"{path} holds <{child.tag}>, not <{name}>")
            else:
                faults += _xml_value(shape.member, child, f"{path}[{index}]", protocol)
        return faults
    return _xml_scalar(shape, element.text or "", path)


def _xml_scalar(shape, text, path):
    kind = shape.type_name
    patterns = {
        "integer": r"-?\d+",
        "long": r"-?\d+",
        "float": r"-?\d+(\.\d+)?",
        "double": r"-?\d+(\.\d+)?",
        "boolean": r"true|false",
        "timestamp": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z",
    }
    if kind in patterns and not re.fullmatch(patterns[kind], text):
        return [f"{path}: {text!r} is no {kind}"]
    known = ANSWERED_BY_AWS.get(shape.name, set())
    if kind == "string" and shape.enum and text not in shape.enum and text not in known:
        return [f"{path}: {text!r} is none of {shape.enum}"]
    return []
