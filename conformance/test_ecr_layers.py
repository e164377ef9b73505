"""ECR's own way of pushing and fetching layers, without the registry's protocol; and artifacts that
refer to an image."""

import hashlib
import json
import os
import urllib.error
import urllib.request

import pytest

from refusals import refused

MIB = 1024 * 1024
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


@pytest.fixture
def repository(aws, name):
    aws.ecr.create_repository(repositoryName=name)
    yield name
    aws.ecr.delete_repository(repositoryName=name, force=True)


def digest_of(content):
    return "sha256:" + hashlib.sha256(content).hexdigest()


def upload(aws, repository, content, part=MIB):
    begun = aws.ecr.initiate_layer_upload(repositoryName=repository)
    assert begun["partSize"] >= 5 * MIB
    for first in range(0, len(content), part):
        piece = content[first:first + part]
        got = aws.ecr.upload_layer_part(
            repositoryName=repository, uploadId=begun["uploadId"], partFirstByte=first,
            partLastByte=first + len(piece) - 1, layerPartBlob=piece)
        assert got["lastByteReceived"] == first + len(piece) - 1
    return begun["uploadId"]


def push(aws, repository, layers, tag=None, **more):
    """An image of these layers, put by the API alone; returns its digest."""
    config = json.dumps({"architecture": "amd64", "os": "linux", "of": tag}).encode()
    for content in (config, *layers):
        checked = aws.ecr.batch_check_layer_availability(
            repositoryName=repository, layerDigests=[digest_of(content)])["layers"][0]
        if checked["layerAvailability"] == "UNAVAILABLE":
            done = aws.ecr.complete_layer_upload(
                repositoryName=repository, layerDigests=[digest_of(content)],
                uploadId=upload(aws, repository, content))
            assert done["layerDigest"] == digest_of(content)
    described = [{"mediaType": "application/octet-stream", "digest": digest_of(it),
                  "size": len(it)} for it in (config, *layers)]
    manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": described[0],
                "layers": described[1:], **more}
    put = aws.ecr.put_image(repositoryName=repository, imageManifest=json.dumps(manifest),
                            **({"imageTag": tag} if tag else {}))
    return put["image"]["imageId"]["imageDigest"]


@pytest.mark.deadline(120)
def test_an_image_is_pushed_part_by_part_and_fetched_by_plain_gets(aws, repository):
    # Parts of the largest size that ECR takes, and a last one that is smaller.
    layer = os.urandom(21 * MIB + 5)
    whole = upload(aws, repository, layer, part=20 * MIB)
    aws.ecr.complete_layer_upload(repositoryName=repository, uploadId=whole,
                                  layerDigests=[digest_of(layer)])
    refused("LayerInaccessibleException", aws.ecr.get_download_url_for_layer,
            repositoryName=repository, layerDigest=digest_of(layer))
    push(aws, repository, [layer], tag="v1")
    again = upload(aws, repository, layer[:MIB])
    refused("LayerAlreadyExistsException", aws.ecr.complete_layer_upload,
            repositoryName=repository, uploadId=again, layerDigests=[digest_of(layer)])
    got = aws.ecr.get_download_url_for_layer(repositoryName=repository,
                                             layerDigest=digest_of(layer))
    with urllib.request.urlopen(got["downloadUrl"], timeout=30) as answer:
        assert answer.read() == layer
    # Good for that layer, and only as it was signed.
    for wrong in (got["downloadUrl"].split("?")[0], got["downloadUrl"][:-2],
                  got["downloadUrl"].replace("expires=", "expires=9")):
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(wrong, timeout=30)
        assert caught.value.code == 401
    shown = aws.ecr.describe_images(repositoryName=repository)["imageDetails"][0]
    assert "lastRecordedPullTime" not in shown
    aws.ecr.batch_get_image(repositoryName=repository, imageIds=[{"imageTag": "v1"}])
    shown = aws.ecr.describe_images(repositoryName=repository)["imageDetails"][0]
    assert shown["imageSizeInBytes"] > len(layer) and shown["lastRecordedPullTime"]


def test_bad_parts_and_digests_are_refused(aws, repository):
    begun = aws.ecr.initiate_layer_upload(repositoryName=repository)["uploadId"]
    named = {"repositoryName": repository, "uploadId": begun}
    refused("EmptyUploadException", aws.ecr.complete_layer_upload, **named,
            layerDigests=[digest_of(b"x")])
    aws.ecr.upload_layer_part(**named, partFirstByte=0, partLastByte=2, layerPartBlob=b"abc")
    for first, last in ((0, 2), (4, 6), (3, 9)):
        with pytest.raises(aws.ecr.exceptions.InvalidLayerPartException) as caught:
            aws.ecr.upload_layer_part(**named, partFirstByte=first, partLastByte=last,
                                      layerPartBlob=b"def")
        assert caught.value.response["lastValidByteReceived"] == 2
    refused("InvalidLayerException", aws.ecr.complete_layer_upload, **named,
            layerDigests=[digest_of(b"other")])
    refused("UploadNotFoundException", aws.ecr.complete_layer_upload, **named,
            layerDigests=[digest_of(b"abc")])
    missing = digest_of(b"never")
    refused("LayersNotFoundException", aws.ecr.get_download_url_for_layer,
            repositoryName=repository, layerDigest=missing)
    checked = aws.ecr.batch_check_layer_availability(
        repositoryName=repository, layerDigests=[missing, "nonsense"])
    assert [it["layerAvailability"] for it in checked["layers"]] == ["UNAVAILABLE"]
    assert [it["failureCode"] for it in checked["failures"]] == ["InvalidLayerDigest"]


def test_artifacts_refer_to_an_image(aws, repository):
    image = push(aws, repository, [b"layer"], tag="v1")
    subject = {"mediaType": MANIFEST, "digest": image, "size": 1}
    digests = [push(aws, repository, [kind.encode()], subject=subject,
                    artifactType=f"application/vnd.example.{kind}",
                    annotations={"kind": kind}) for kind in ("signature", "sbom")]
    found = aws.ecr.list_image_referrers(repositoryName=repository,
                                         subjectId={"imageDigest": image})["referrers"]
    assert sorted(it["digest"] for it in found) == sorted(digests)
    assert {it["annotations"]["kind"] for it in found} == {"signature", "sbom"}
    only = aws.ecr.list_image_referrers(
        repositoryName=repository, subjectId={"imageDigest": image},
        filter={"artifactTypes": ["application/vnd.example.sbom"]})["referrers"]
    assert [it["digest"] for it in only] == [digests[1]]
    page = aws.ecr.list_image_referrers(repositoryName=repository, maxResults=1,
                                        subjectId={"imageDigest": image})
    rest = aws.ecr.list_image_referrers(repositoryName=repository, nextToken=page["nextToken"],
                                        subjectId={"imageDigest": image})
    assert len(page["referrers"]) == len(rest["referrers"]) == 1
