//! Patterns and events, mostly those of CloudWatch's user guide.

use super::Pattern;

fn check(pattern: &str, message: &str) -> bool {
    Pattern::parse(pattern).unwrap_or_else(|bad| panic!("{pattern}: {bad}")).matches(message)
}

#[test]
fn terms_are_required_optional_or_excluded() {
    for (pattern, message, expected) in [
        ("", "anything", true),
        ("  ", "anything", true),
        ("ERROR", "[ERROR 400] BAD REQUEST", true),
        ("ERROR", "[error 400] bad request", false),
        ("ERROR ARGUMENTS", "[ERROR 419] MISSING ARGUMENTS", true),
        ("ERROR ARGUMENTS", "[ERROR 401] UNAUTHORIZED REQUEST", false),
        ("?ERROR ?ARGUMENTS", "[ERROR 401] UNAUTHORIZED REQUEST", true),
        ("?ERROR ?ARGUMENTS", "[WARN 1] NOTHING", false),
        ("\"INTERNAL SERVER ERROR\"", "[ERROR 500] INTERNAL SERVER ERROR", true),
        ("\"SERVER INTERNAL\"", "[ERROR 500] INTERNAL SERVER ERROR", false),
        ("ERROR -ARGUMENTS", "[ERROR 400] BAD REQUEST", true),
        ("ERROR -ARGUMENTS", "[ERROR 419] MISSING ARGUMENTS", false),
        ("-\"a b\"", "x a b", false),
        ("-\"a b\"", "x b a", true),
        ("?a b", "only b", true),
        ("\"say \\\"hi\\\"\"", "they say \"hi\" now", true),
        ("%E[0-9]+%", "code E42", true),
        ("-%E[0-9]+%", "code E42", false),
    ] {
        assert_eq!(check(pattern, message), expected, "{pattern} | {message}");
    }
}

#[test]
fn json_events_are_looked_into() {
    let event = r#"{
        "eventType": "UpdateTrail", "sourceIPAddress": "111.111.111.111", "count": 1,
        "arrayKey": ["value", "another value"], "ok": true, "off": false, "nothing": null,
        "objectList": [{"name": "a", "id": 1}, {"name": "b", "id": 2}],
        "cluster": {"name": "c", "my key": "x", "dotted.key": 5},
        "number": 2.5e1, "text": "404"
    }"#;
    for (pattern, expected) in [
        ("{ $.eventType = \"UpdateTrail\" }", true),
        ("{ $.eventType = UpdateTrail }", true),
        ("{$.eventType=\"Update*\"}", true),
        ("{ $.eventType != \"UpdateTrail\" }", false),
        ("{ $.sourceIPAddress != 123.123.* }", true),
        ("{ $.arrayKey[0] = \"value\" }", true),
        ("{ $.arrayKey[1] = \"value\" }", false),
        ("{ $.arrayKey[9] NOT EXISTS }", true),
        ("{ $.arrayKey[*] = \"another*\" }", true),
        ("{ $.objectList[1].id = 2 }", true),
        ("{ $.objectList[*].id > 1 }", true),
        ("{ $.objectList[*].id > 2 }", false),
        ("{ $.ok IS TRUE }", true),
        ("{ $.off IS FALSE }", true),
        ("{ $.ok IS FALSE }", false),
        ("{ $.nothing IS NULL }", true),
        ("{ $.missing IS NULL }", false),
        ("{ $.missing NOT EXISTS }", true),
        ("{ $.ok NOT EXISTS }", false),
        ("{ $.missing = \"*\" }", false),
        ("{ $.missing != 1 }", false),
        ("{ $.count = \"*\" }", true),
        ("{ $.number = 25 }", true),
        ("{ $.number >= 25 && $.number < 25.5 }", true),
        ("{ $.number > 1e3 }", false),
        ("{ $.text = 404 }", true),
        ("{ $.text >= 400 }", true),
        ("{ $.cluster.name = \"c\" && $.count = 1 }", true),
        ("{ $.cluster.['my key'] = \"x\" }", true),
        ("{ $.cluster['dotted.key'] = 5 }", true),
        ("{ $.count = 2 || $.count = 1 }", true),
        ("{ ($.count = 2 || $.count = 1) && $.ok IS FALSE }", false),
        ("{ $.count = 1 || $.count = 2 && $.ok IS FALSE }", true),
        ("{ $.eventType = %^Update.+l$% }", true),
        ("{ $.eventType = %^Trail% }", false),
    ] {
        assert_eq!(check(pattern, event), expected, "{pattern}");
    }
    assert!(!check("{ $.a = 1 }", "a = 1"));
    assert!(!check("{ $.a NOT EXISTS }", "not json"));
    assert!(!check("{ $.a NOT EXISTS }", "5"));
}

#[test]
fn events_of_words_are_matched_word_by_word() {
    let event =
        "127.0.0.1 Prod frank [10/Oct/2000:13:25:15 -0700] \"GET /index.html HTTP/1.0\" 404 1534";
    for (pattern, expected) in [
        ("[ip, id, user, time, request, status_code, bytes]", true),
        ("[ip, id, user, time, request, status_code]", false),
        ("[ip, id, user, timestamp, request, status_code = 4*, size]", true),
        ("[ip, id, user, timestamp, request, status_code = 5*, size]", false),
        ("[..., size = 1534]", true),
        ("[..., status_code = 404 || status_code = 410, size]", true),
        ("[..., status_code >= 400 && status_code < 404, size]", false),
        ("[ip = %127\\.0\\.0\\.[0-9]{1,3}%, ...]", true),
        ("[..., request = *html*, status_code, size]", true),
        ("[..., request = \"POST*\", status_code, size]", false),
        ("[a, b, ..., c, d, e, f, g, h]", false),
        ("[...]", true),
    ] {
        assert_eq!(check(pattern, event), expected, "{pattern}");
    }
}

#[test]
fn malformed_patterns_are_refused() {
    for bad in [
        "\"open",
        "foo-bar",
        "-",
        "?",
        "a:b",
        "%(%",
        "{",
        "{ }",
        "{ $.a }",
        "{ $.a = }",
        "{ $.a == 1 }",
        "{ $.a = 1",
        "{ a = 1 }",
        "{ $.a = 1 && }",
        "{ ($.a = 1 }",
        "{ $.a = 1) }",
        "{ $.a IS MAYBE }",
        "{ $.a < \"x\" }",
        "{ $.a[x] = 1 }",
        "{ $..a = 1 }",
        "{ $a = 1 }",
        "[a, b",
        "[..., a, ...]",
        "[a = ]",
        "[a b]",
    ] {
        assert!(Pattern::parse(bad).is_err(), "{bad}");
    }
}
