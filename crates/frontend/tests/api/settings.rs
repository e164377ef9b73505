//! Account settings: whose holds, and what they may be.

use crate::endpoint::Endpoint;
use serde_json::json;

#[tokio::test]
async fn there_is_exactly_one_effective_value_of_a_setting() {
    let endpoint = Endpoint::new().await;
    let list = json!({"name": "containerInsights", "effectiveSettings": true});
    let out = endpoint.ok("ListAccountSettings", list.clone()).await;
    assert_eq!(
        out["settings"],
        json!([{
            "name": "containerInsights",
            "value": "disabled",
            "principalArn": "arn:aws:iam::000000000000:root",
            "type": "user",
        }])
    );
    let put = json!({"name": "containerInsights", "value": "enabled"});
    let out = endpoint.ok("PutAccountSettingDefault", put).await;
    assert_eq!(out["setting"]["value"], "enabled");
    let out = endpoint.ok("ListAccountSettings", list).await;
    assert_eq!(out["settings"][0]["value"], "enabled");
    // A new cluster begins with it.
    let out = endpoint.ok("CreateCluster", json!({})).await;
    assert_eq!(out["cluster"]["settings"][0]["value"], "enabled");

    let set = endpoint.ok("ListAccountSettings", json!({})).await;
    assert_eq!(set["settings"].as_array().expect("a list").len(), 1);
    let out = endpoint.ok("DeleteAccountSetting", json!({"name": "containerInsights"})).await;
    assert_eq!(out["setting"]["value"], "disabled");
    let all = endpoint.ok("ListAccountSettings", json!({"effectiveSettings": true})).await;
    assert_eq!(all["settings"].as_array().expect("a list").len(), 10);
    assert!(all["nextToken"].is_string());
}

#[tokio::test]
async fn a_principals_own_setting_comes_before_the_accounts() {
    let endpoint = Endpoint::new().await;
    let user = "arn:aws:iam::000000000000:user/ann";
    let put = json!({"name": "awsvpcTrunking", "value": "enabled", "principalArn": user});
    endpoint.ok("PutAccountSetting", put).await;
    let of = |principal: &str| {
        json!({
            "name": "awsvpcTrunking",
            "effectiveSettings": true,
            "principalArn": principal,
        })
    };
    let out = endpoint.ok("ListAccountSettings", of(user)).await;
    assert_eq!(out["settings"][0]["value"], "enabled");
    let other = endpoint.ok("ListAccountSettings", of("arn:aws:iam::000000000000:user/bob")).await;
    assert_eq!(other["settings"][0]["value"], "disabled");
}

#[tokio::test]
async fn settings_take_only_their_values() {
    let endpoint = Endpoint::new().await;
    for (name, value) in [
        ("containerInsights", "loud"),
        ("taskLongArnFormat", "disabled"),
        ("guardDutyActivate", "on"),
        ("noSuchSetting", "enabled"),
    ] {
        let input = json!({"name": name, "value": value});
        let (code, _) = endpoint.refused("PutAccountSetting", input).await;
        assert_eq!(code, "InvalidParameterException", "{name}");
    }
}
