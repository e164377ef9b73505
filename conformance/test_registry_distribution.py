"""The OCI distribution specification, v1.1, case by case: what its conformance suite asks of a
registry (opencontainers/distribution-spec, folder conformance), in words of our own. Where ECR does
otherwise, and we with it, the case says so."""

import base64
import json

import pytest

import registry
from registry import (
    DOCKER_LIST,
    DOCKER_MANIFEST,
    OCI_EMPTY,
    OCI_INDEX,
    OCI_MANIFEST,
    Registry,
    descriptor,
    digest,
    image,
    index,
    noise,
    path_of,
    with_digest,
)


@pytest.fixture
def repository(aws, server, registry_password, name):
    aws.ecr.create_repository(repositoryName=name)
    yield Registry(server.port, registry_password, name)
    aws.ecr.delete_repository(repositoryName=name, force=True)


@pytest.fixture
def second(aws, repository):
    name = f"{repository.name}/second"
    aws.ecr.create_repository(repositoryName=name)
    yield repository.other(name)
    aws.ecr.delete_repository(repositoryName=name, force=True)


def holds(repository, content):
    """The blob is there, whole, by HEAD and by GET."""
    path = f"blobs/{digest(content)}"
    head = repository.call("HEAD", path)
    assert (head.status, head.headers["content-length"]) == (200, str(len(content))), head
    assert head.headers["docker-content-digest"] == digest(content)
    got = repository.call("GET", path)
    assert (got.status, got.body) == (200, content)


def lacks(repository, content):
    for method in ("HEAD", "GET"):
        assert repository.call(method, f"blobs/{digest(content)}").status == 404


# The registry as a whole

def test_the_base_answers_200_and_asks_who_is_there(repository):
    assert repository.call("GET", "/v2/").status == 200
    stranger = repository.other("x")
    stranger.authorization = {}
    asked = stranger.call("GET", "/v2/")
    assert asked.status == 401 and asked.headers["www-authenticate"].startswith("Basic ")
    assert asked.code() == "UNAUTHORIZED"


def test_an_empty_repository_has_no_tags_and_no_referrers(repository):
    tags = repository.call("GET", "tags/list")
    assert (tags.status, tags.json()) == (200, {"name": repository.name, "tags": []})
    none = repository.call("GET", f"referrers/{digest(noise())}")
    assert (none.status, none.json()["manifests"]) == (200, [])
    assert none.headers["content-type"] == OCI_INDEX


# Blobs: the ways in

def test_a_blob_that_was_never_pushed_is_not_found(repository):
    missing = repository.call("GET", f"blobs/{digest(noise())}")
    assert (missing.status, missing.code()) == (404, "BLOB_UNKNOWN")


def test_a_blob_in_one_post(repository):
    content = noise()
    pushed = repository.call("POST", f"blobs/uploads/?digest={digest(content)}", content)
    assert pushed.status == 201, pushed
    assert repository.call("GET", path_of(pushed.headers["location"])).body == content
    holds(repository, content)


def test_a_blob_by_post_and_put(repository):
    content = noise()
    pushed = repository.call("PUT", with_digest(repository.begin(), content), content)
    assert pushed.status == 201 and pushed.headers["docker-content-digest"] == digest(content)
    assert path_of(pushed.headers["location"]).endswith(f"blobs/{digest(content)}")
    holds(repository, content)


def chunks(repository, content, bounds, put_last):
    """Sends the pieces between the bounds one after the other, and ends the upload."""
    location = repository.begin()
    pieces = list(zip(bounds, bounds[1:]))
    for start, end in pieces[:-1] if put_last else pieces:
        sent = repository.call("PATCH", path_of(location), content[start:end],
                               Content_Range=f"{start}-{end - 1}",
                               Content_Type="application/octet-stream")
        assert sent.status == 202 and sent.headers["range"] == f"0-{end - 1}", sent
        location = sent.headers["location"]
    if not put_last:
        return repository.call("PUT", with_digest(location, content), b"")
    start, end = pieces[-1]
    return repository.call("PUT", with_digest(location, content), content[start:end],
                           Content_Range=f"{start}-{end - 1}",
                           Content_Type="application/octet-stream")


@pytest.mark.parametrize("put_last", [False, True], ids=["empty put", "last chunk by put"])
@pytest.mark.parametrize("bounds", [[0, 3000], [0, 1024, 2048, 3000]], ids=["one", "three"])
def test_a_blob_in_chunks(repository, bounds, put_last):
    content = noise(3000)
    assert chunks(repository, content, bounds, put_last).status == 201
    holds(repository, content)


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
def test_chunks_out_of_order_are_refused_and_the_upload_goes_on(repository, method):
    content = noise(3000)
    location = repository.begin()
    early = repository.call("PATCH", path_of(location), content[1000:2000],
                            Content_Range="1000-1999")
    assert early.status == 416, early
    sent = repository.call("PATCH", path_of(location), content[:1000], Content_Range="0-999")
    assert sent.status == 202
    late = with_digest(location, content) if method == "PUT" else path_of(location)
    refused = repository.call(method, late, content[2000:], Content_Range="2000-2999")
    assert refused.status == 416 and refused.headers["range"] == "0-999", refused
    again = repository.call("PATCH", path_of(location), content[:1000], Content_Range="0-999")
    assert again.status == 416, again
    status = repository.call("GET", path_of(location))
    assert (status.status, status.headers["range"]) == (204, "0-999")
    sent = repository.call("PATCH", path_of(status.headers["location"]), content[1000:],
                           Content_Range="1000-2999")
    assert sent.status == 202
    assert repository.call("PUT", with_digest(location, content), b"").status == 201
    holds(repository, content)


def test_a_blob_as_a_stream(repository):
    """One PATCH without a range and of no length that is known before."""
    content = noise(5000)
    pieces = (content[at:at + 700] for at in range(0, len(content), 700))
    location = repository.begin()
    sent = repository.call("PATCH", path_of(location), pieces,
                           Content_Type="application/octet-stream")
    assert sent.status == 202, sent
    assert repository.call("PUT", with_digest(sent.headers["location"], content), b"").status == 201
    holds(repository, content)


def test_an_upload_is_cancelled(repository):
    location = repository.begin()
    assert repository.call("DELETE", path_of(location)).status == 204
    assert repository.call("GET", path_of(location)).status == 404
    refused = repository.call("PUT", with_digest(location, b"x"), b"x")
    assert (refused.status, refused.code()) == (404, "BLOB_UPLOAD_UNKNOWN")


@pytest.mark.parametrize("content", [b"", b"{}"], ids=["empty", "empty JSON"])
def test_well_known_blobs(repository, content):
    repository.push_blob(content)
    holds(repository, content)


def test_a_blob_may_be_pushed_again(repository):
    content = noise()
    repository.push_blob(content)
    repository.push_blob(content)
    holds(repository, content)


@pytest.mark.parametrize("way", ["post", "put", "chunked", "chunked put", "stream"])
def test_a_wrong_digest_is_refused_whatever_the_way(repository, way):
    content = noise(3000)
    lie = digest(content + b"oh no")
    if way == "post":
        refused = repository.call("POST", f"blobs/uploads/?digest={lie}", content)
    elif way == "put":
        refused = repository.call("PUT", f"{path_of(repository.begin())}?digest={lie}", content)
    else:
        location = path_of(repository.begin())
        headers = {} if way == "stream" else {"Content_Range": "0-1499"}
        assert repository.call("PATCH", location, content[:1500], **headers).status == 202
        headers = {"Content_Range": "1500-2999"} if way == "chunked put" else {}
        refused = repository.call("PUT", f"{location}?digest={lie}", content[1500:], **headers)
    assert (refused.status, refused.code()) == (400, "DIGEST_INVALID"), refused
    assert repository.call("HEAD", f"blobs/{lie}").status == 404
    lacks(repository, content)


@pytest.mark.parametrize("text", ["sha256:1234", "md5:" + "0" * 32, "nonsense", ""])
def test_what_is_no_digest_is_refused(repository, text):
    refused = repository.call("POST", f"blobs/uploads/?digest={text}", b"x")
    assert (refused.status, refused.code()) == (400, "DIGEST_INVALID"), refused


# Blobs: mounting

def test_a_blob_is_mounted_from_another_repository(repository, second):
    content = noise()
    second.push_blob(content)
    lacks(repository, content)
    mounted = repository.call(
        "POST", f"blobs/uploads/?mount={digest(content)}&from={second.name}", b"")
    assert mounted.status == 201 and mounted.headers["location"], mounted
    holds(repository, content)


@pytest.mark.parametrize("source", ["of nobody", "anonymous", "absent"])
def test_what_can_not_be_mounted_is_uploaded(repository, second, source):
    """Also without naming a source: ECR mounts only from a repository that is named."""
    content = noise()
    if source == "anonymous":
        second.push_blob(content)
    query = {"of nobody": f"&from={second.name}", "anonymous": "",
             "absent": f"&from={second.name}-absent"}[source]
    begun = repository.call("POST", f"blobs/uploads/?mount={digest(content)}{query}", b"")
    assert begun.status == 202, begun
    pushed = repository.call("PUT", with_digest(begun.headers["location"], content), content)
    assert pushed.status == 201
    holds(repository, content)


# Blobs: the way out

@pytest.mark.parametrize("asked, start, end", [
    ("500-1499", 500, 1500), ("500-", 500, 2048), ("-500", 1548, 2048), ("2000-5000", 2000, 2048),
    ("0-0", 0, 1),
])
def test_a_range_of_a_blob(repository, asked, start, end):
    content = noise(2048)
    path = f"blobs/{repository.push_blob(content)}"
    part = repository.call("GET", path, Range=f"bytes={asked}")
    assert (part.status, part.body) == (206, content[start:end]), part
    assert part.headers["content-range"] == f"bytes {start}-{end - 1}/2048"
    assert part.headers["content-length"] == str(end - start)


@pytest.mark.parametrize("asked", ["5000-10000", "2048-", "500-0"])
def test_a_range_outside_of_a_blob(repository, asked):
    """Also one that ends before it begins, which RFC 9110 would let a server ignore."""
    path = f"blobs/{repository.push_blob(noise(2048))}"
    refused = repository.call("GET", path, Range=f"bytes={asked}")
    assert refused.status == 416 and refused.headers["content-range"] == "bytes */2048"


def test_blobs_are_not_deleted_one_by_one(repository):
    """The specification lets a registry say so, and ECR does."""
    refused = repository.call("DELETE", f"blobs/{repository.push_blob(noise())}")
    assert (refused.status, refused.code()) == (405, "UNSUPPORTED")


# Manifests of every kind: pushed, listed, asked for, pulled, deleted

def plain(repository):
    return [repository.push_image("image")]


def docker_image(repository):
    manifest = image(noise(), [noise()], repository, media_type=DOCKER_MANIFEST)
    assert repository.put_manifest("docker", manifest).status == 201
    return [manifest]


def large(repository):
    annotations = {f"large-annotation-{n}": "A" * 10_000 for n in range(390)}
    return [repository.push_image("large-manifest", annotations=annotations)]


def multi_platform(repository):
    children = [repository.push_image(), repository.push_image()]
    whole = index(children)
    assert repository.put_manifest("index", whole).status == 201
    return [*children, whole]


def docker_list(repository):
    children = [docker_image(repository)[0] for _ in range(2)]
    whole = index(children, media_type=DOCKER_LIST)
    assert repository.put_manifest("list", whole).status == 201
    return [*children, whole]


def nested_index(repository):
    below = [multi_platform(repository), multi_platform(repository)]
    whole = index([made[-1] for made in below])
    assert repository.put_manifest("index-of-index", whole).status == 201
    return [*below[0], *below[1], whole]


def empty_index(repository):
    whole = index([])
    assert repository.put_manifest("index", whole).status == 201
    return [whole]


def artifact(repository):
    return [repository.push_image("artifact", artifactType="application/vnd.example.one",
                                  config_type=OCI_EMPTY, layer_type="application/vnd.example.one")]


def artifact_index(repository):
    children = [artifact(repository)[0] for _ in range(2)]
    whole = index(children, artifactType="application/vnd.example.one")
    assert repository.put_manifest("artifact-index", whole).status == 201
    return [*children, whole]


def artifact_without_layers(repository):
    manifest = image(b"{}", [b"{}"], repository, artifactType="application/vnd.example.one",
                     config_type=OCI_EMPTY, layer_type=OCI_EMPTY)
    assert repository.put_manifest("artifact", manifest).status == 201
    return [manifest]


def no_layers(repository):
    return [repository.push_image("no-layers", layers=0)]


def missing_subject(repository):
    subject = descriptor(b"missing content", OCI_MANIFEST)
    return [repository.push_image("tagged-artifact", subject=subject)]


def data_field(repository):
    config = json.dumps({"architecture": "amd64"}).encode()
    repository.push_blob(config)
    manifest = json.loads(image(config, []))
    manifest["config"]["data"] = base64.b64encode(config).decode()
    assert repository.put_manifest("data-field", json.dumps(manifest).encode()).status == 201
    return [json.dumps(manifest).encode()]


def elsewhere(repository):
    """Layers that may not be distributed are somewhere else: nobody pushes them."""
    config = noise()
    repository.push_blob(config)
    manifest = json.loads(image(config, []))
    manifest["layers"] = [descriptor(
        noise(), "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        urls=["https://store.example.com/layer"])]
    manifest = json.dumps(manifest).encode()
    assert repository.put_manifest("elsewhere", manifest).status == 201
    return [manifest]


def custom_fields(repository):
    return [repository.push_image("custom", **{"org.example.custom": {"deep": ["er"]}})]


KINDS = [plain, docker_image, large, multi_platform, docker_list, nested_index, empty_index,
         artifact, artifact_index, artifact_without_layers, no_layers, missing_subject, data_field,
         elsewhere, custom_fields]


@pytest.mark.parametrize("make", KINDS, ids=lambda make: make.__name__)
def test_a_manifest_from_push_to_delete(repository, make):
    manifests = make(repository)
    tag = repository.call("GET", "tags/list").json()["tags"][-1]
    for manifest in manifests:
        for method in ("HEAD", "GET"):
            found = repository.call(method, f"manifests/{digest(manifest)}")
            assert found.status == 200
            assert found.headers["docker-content-digest"] == digest(manifest)
            assert found.headers["content-type"] == json.loads(manifest)["mediaType"]
            assert found.headers["content-length"] == str(len(manifest))
            assert found.body == (manifest if method == "GET" else b"")
    by_tag = repository.call("GET", f"manifests/{tag}")
    assert by_tag.body in manifests
    # The tag goes alone, at once; then each manifest, those that name others first.
    assert repository.call("DELETE", f"manifests/{tag}").status == 202
    assert repository.call("HEAD", f"manifests/{tag}").status == 404
    assert repository.call("HEAD", f"manifests/{digest(by_tag.body)}").status == 200
    for manifest in reversed(manifests):
        path = f"manifests/{digest(manifest)}"
        assert repository.call("DELETE", path).status == 202
        gone = repository.call("GET", path)
        assert (gone.status, gone.code()) == (404, "MANIFEST_UNKNOWN")
    assert repository.call("GET", "tags/list").json()["tags"] == []


def test_a_manifest_by_digest_has_no_tag(repository):
    manifest = repository.push_image()
    assert repository.call("GET", f"manifests/{digest(manifest)}").body == manifest
    assert repository.call("GET", "tags/list").json()["tags"] == []


def test_a_tag_moves_with_its_next_push(repository):
    first, second = repository.push_image("v1"), repository.push_image("v1")
    assert repository.call("GET", "manifests/v1").body == second
    assert repository.call("GET", f"manifests/{digest(first)}").body == first


def test_a_digest_takes_its_tags_along(repository):
    manifest = repository.push_image("v1")
    assert repository.put_manifest("v2", manifest).status == 201
    assert repository.call("DELETE", f"manifests/{digest(manifest)}").status == 202
    assert repository.call("GET", "tags/list").json()["tags"] == []


# Manifests: what is refused

def test_missing_manifests_are_not_found(repository):
    for reference in ("missing", digest(noise())):
        gone = repository.call("GET", f"manifests/{reference}")
        assert (gone.status, gone.code()) == (404, "MANIFEST_UNKNOWN")
        assert repository.call("HEAD", f"manifests/{reference}").status == 404
        assert repository.call("DELETE", f"manifests/{reference}").status == 404


def test_a_malformed_digest_is_refused(repository):
    manifest = image(noise(), [noise()], repository)
    refused = repository.put_manifest("sha256:baddigeststring", manifest)
    assert (refused.status, refused.code()) == (400, "DIGEST_INVALID")
    assert repository.call("GET", "manifests/sha256:baddigeststring").status in (400, 404)


def test_a_manifest_under_another_ones_digest_is_refused(repository):
    manifest = image(noise(), [noise()], repository)
    refused = repository.put_manifest(digest(manifest), manifest + b"  ", OCI_MANIFEST)
    assert (refused.status, refused.code()) == (400, "DIGEST_INVALID")
    assert repository.call("HEAD", f"manifests/{digest(manifest)}").status == 404


@pytest.mark.parametrize("lacking", ["layer", "child"])
def test_sparse_manifests_are_refused(repository, lacking):
    """The specification leaves it open; ECR wants everything first."""
    if lacking == "layer":
        manifest = image(noise(), [noise()])
    else:
        manifest = index([image(noise(), [])])
    refused = repository.put_manifest("sparse", manifest)
    assert (refused.status, refused.code()) == (404, "MANIFEST_BLOB_UNKNOWN")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"{}", b"blablabla"])
def test_what_is_no_manifest_is_refused(repository, body):
    refused = repository.put_manifest("bad", body, OCI_MANIFEST)
    assert (refused.status, refused.code()) == (400, "MANIFEST_INVALID")


def test_no_more_than_four_mebibytes_of_manifest(repository):
    refused = repository.put_manifest("big", b" " * (4 * 1024 * 1024 + 1), OCI_MANIFEST)
    assert refused.status == 413, refused


@pytest.mark.parametrize("tag", ["-x", ".x", "a" * 129, "%C3%A4"])
def test_what_is_no_tag_is_refused(repository, tag):
    refused = repository.call("PUT", f"manifests/{tag}", b"{}", Content_Type=OCI_MANIFEST)
    assert 400 <= refused.status < 500, refused


@pytest.mark.parametrize("wrong", ["UPPER", "a//b", "-a", "a/_b"])
def test_what_is_no_name_is_refused(repository, wrong):
    refused = repository.other(wrong).call("GET", "tags/list")
    assert refused.status in (400, 404), refused


# Lists

def test_tags_come_sorted_and_in_pages(repository):
    manifest = repository.push_image("test3")
    for tag in ("test1", "test10", "test2", "TEST"):
        assert repository.put_manifest(tag, manifest).status == 201
    whole = repository.call("GET", "tags/list").json()["tags"]
    assert whole == ["TEST", "test1", "test10", "test2", "test3"]
    two = repository.call("GET", "tags/list?n=2")
    assert two.json()["tags"] == whole[:2] and 'rel="next"' in two.headers["link"]
    after = repository.call("GET", f"tags/list?n=2&last={whole[1]}")
    assert after.json()["tags"] == whole[2:4]
    rest = repository.call("GET", f"tags/list?last={whole[3]}")
    assert rest.json()["tags"] == whole[4:] and "link" not in rest.headers
    assert repository.call("GET", "tags/list?n=0").json()["tags"] == []
    assert repository.call("GET", "tags/list?n=-1").status == 400
    # Links lead through all of them.
    seen, path = [], "tags/list?n=2"
    while path:
        page = repository.call("GET", path)
        seen += page.json()["tags"]
        link = page.headers.get("link")
        path = link and path_of(link.split("<")[1].split(">")[0])
    assert seen == whole


# Referrers

@pytest.fixture
def subject(repository):
    return repository.push_image("subject")


def refer(repository, subject, artifact_type=None, **more):
    more["subject"] = descriptor(subject, OCI_MANIFEST)
    more["annotations"] = {"org.example.unique": noise(8).hex()}
    if artifact_type:
        more["artifactType"] = artifact_type
        more["config_type"] = OCI_EMPTY
    manifest = image(noise(), [noise()], repository, **more)
    pushed = repository.put_manifest(digest(manifest), manifest)
    assert (pushed.status, pushed.headers["oci-subject"]) == (201, digest(subject)), pushed
    return manifest


def referrers(repository, subject, query=""):
    found = repository.call("GET", f"referrers/{digest(subject)}{query}")
    assert (found.status, found.headers["content-type"]) == (200, OCI_INDEX), found
    assert found.json()["schemaVersion"] == 2 and found.json()["mediaType"] == OCI_INDEX
    return found, {entry["digest"]: entry for entry in found.json()["manifests"]}


def test_referrers_are_described(repository, subject):
    one = refer(repository, subject, "application/vnd.example.one")
    two = refer(repository, subject, "application/vnd.example.two")
    plain_image = refer(repository, subject)
    _, found = referrers(repository, subject)
    assert set(found) == {digest(one), digest(two), digest(plain_image)}
    entry = found[digest(one)]
    assert entry["mediaType"] == OCI_MANIFEST and entry["size"] == len(one)
    assert entry["artifactType"] == "application/vnd.example.one"
    assert entry["annotations"] == json.loads(one)["annotations"]
    # Without a type of its own an image is of the type of its configuration.
    assert found[digest(plain_image)]["artifactType"] == registry.OCI_CONFIG


def test_referrers_are_filtered_by_type(repository, subject):
    one = refer(repository, subject, "application/vnd.example.one")
    refer(repository, subject, "application/vnd.example.two")
    answer, found = referrers(repository, subject, "?artifactType=application/vnd.example.one")
    assert list(found) == [digest(one)]
    assert answer.headers["oci-filters-applied"] == "artifactType"
    _, none = referrers(repository, subject, "?artifactType=application/vnd.example.none")
    assert none == {}


def test_an_index_may_refer_too(repository, subject):
    whole = index([subject], subject=descriptor(subject, OCI_MANIFEST),
                  artifactType="application/vnd.example.index")
    pushed = repository.put_manifest("index", whole)
    assert pushed.headers["oci-subject"] == digest(subject)
    _, found = referrers(repository, subject)
    assert found[digest(whole)]["artifactType"] == "application/vnd.example.index"
    assert found[digest(whole)]["mediaType"] == OCI_INDEX


def test_a_referrer_may_come_before_its_subject_and_outlive_it(repository):
    subject = image(noise(), [noise()], repository)
    early = refer(repository, subject, "application/vnd.example.one")
    assert set(referrers(repository, subject)[1]) == {digest(early)}
    assert repository.put_manifest("late", subject).status == 201
    assert repository.call("DELETE", f"manifests/{digest(subject)}").status == 202
    assert set(referrers(repository, subject)[1]) == {digest(early)}


def test_a_deleted_referrer_is_not_listed(repository, subject):
    one = refer(repository, subject, "application/vnd.example.one")
    assert repository.call("DELETE", f"manifests/{digest(one)}").status == 202
    assert referrers(repository, subject)[1] == {}


def test_the_fallback_tag_is_an_index_like_any_other(repository, subject):
    """What clients keep where a registry knows no referrers: a tag named after the digest."""
    one = refer(repository, subject, "application/vnd.example.one")
    tag = digest(subject).replace(":", "-")
    assert repository.call("GET", f"manifests/{tag}").status == 404
    fallback = index([one])
    assert repository.put_manifest(tag, fallback).status == 201
    assert repository.call("GET", f"manifests/{tag}").body == fallback
