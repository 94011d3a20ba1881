//! Tokens that are good, and all that are not.

use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{EncodingKey, Header, encode, get_current_timestamp};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};

use super::*;

/// An authorization server, as far as we see it: a file with its keys.
struct Server {
    folder: tempfile::TempDir,
    keys: Vec<(String, EncodingKey)>,
}

impl Server {
    fn new() -> Self {
        let mut server = Self { folder: tempfile::tempdir().unwrap(), keys: Vec::new() };
        server.add_key("one");
        server
    }

    /// A key more, published at once.
    fn add_key(&mut self, id: &str) {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        self.keys.push((id.to_owned(), EncodingKey::from_ec_der(&pair.serialize_der())));
        let keys: Vec<Jwk> = self.keys.iter().map(|(id, key)| published(id, key)).collect();
        let path = self.folder.path().join("keys.json");
        std::fs::write(path, serde_json::to_vec(&json!({ "keys": keys })).unwrap()).unwrap();
    }

    fn config(&self) -> Config {
        Config {
            issuer: "https://login.example/lab".to_owned(),
            resource: "https://sim.example/mcp".to_owned(),
            jwks: self.folder.path().join("keys.json").display().to_string(),
            ..Config::default()
        }
    }

    fn resource(&self) -> Oauth {
        Oauth::new(self.config()).unwrap()
    }

    fn sign(&self, claims: &Value) -> String {
        let (id, key) = self.keys.last().unwrap();
        let header = Header { kid: Some(id.clone()), ..Header::new(Algorithm::ES256) };
        encode(&header, claims, key).unwrap()
    }
}

fn published(id: &str, key: &EncodingKey) -> Jwk {
    let mut jwk = Jwk::from_encoding_key(key, Algorithm::ES256).unwrap();
    jwk.common.key_id = Some(id.to_owned());
    jwk
}

fn claims() -> Value {
    json!({
        "iss": "https://login.example/lab",
        "aud": "https://sim.example/mcp",
        "sub": "ann",
        "exp": get_current_timestamp() + 600,
        "scope": "openid sim:use pool:admin",
    })
}

fn with(claim: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[claim] = value;
    claims
}

#[tokio::test]
async fn a_token_is_its_subjects_and_may_do_what_its_scopes_say() {
    let server = Server::new();
    let resource = server.resource();
    for _ in 0..2 {
        let ann = resource.caller(&server.sign(&claims())).await.unwrap();
        assert_eq!((&ann.tenant, &*ann.name), (&Tenant::named("oauth:b5cad630:ann"), "ann"));
        assert_eq!(ann.scopes(), [Scope::Use, Scope::AdministerPool]);
    }
    for (claim, value) in [
        ("aud", json!("https://sim.example/mcp/")),
        ("aud", json!(["account", "https://sim.example/mcp"])),
        ("nbf", json!(get_current_timestamp() + 30)),
        ("exp", json!(get_current_timestamp() - 30)),
    ] {
        resource.caller(&server.sign(&with(claim, value))).await.unwrap();
    }
    let scp = with("scp", json!(["metrics:read", 7]));
    let ann = resource.caller(&server.sign(&scp)).await.unwrap();
    assert!(ann.may(Scope::ReadMetrics));
    let none = resource.caller(&server.sign(&with("scope", json!("openid")))).await.unwrap();
    assert_eq!(none.scopes(), []);
}

#[tokio::test]
async fn what_does_not_say_what_it_must_is_no_token() {
    let server = Server::new();
    let resource = server.resource();
    let now = get_current_timestamp();
    for (claim, value) in [
        ("iss", json!("https://login.example/lab/")),
        ("iss", json!("https://evil.example")),
        ("iss", Value::Null),
        ("aud", json!("https://other.example/mcp")),
        ("aud", json!([])),
        ("aud", Value::Null),
        ("exp", json!(now - 61)),
        ("exp", json!("never")),
        ("exp", Value::Null),
        ("nbf", json!(now + 600)),
        ("sub", Value::Null),
        ("sub", json!("")),
        ("sub", json!("a\nb")),
        ("sub", json!("x".repeat(129))),
        ("sub", json!(7)),
    ] {
        let token = server.sign(&with(claim, value.clone()));
        let refused = resource.caller(&token).await;
        assert_eq!(refused, Err(Denied::Invalid), "{claim}: {value}");
    }
}

#[tokio::test]
async fn what_another_key_has_signed_is_no_token() {
    let server = Server::new();
    let resource = server.resource();
    let good = server.sign(&claims());
    resource.caller(&good).await.unwrap();
    let stranger = Server::new();
    let (head, rest) = good.split_once('.').unwrap();
    let (body, signature) = rest.split_once('.').unwrap();
    let part = |value: &Value| {
        use base64::Engine as _;
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(value.to_string())
    };
    let none = part(&json!({ "alg": "none", "kid": "one" }));
    let critical = part(&json!({ "alg": "ES256", "kid": "one", "crit": ["exp"] }));
    // The public key, taken for a secret.
    let secret = std::fs::read(server.folder.path().join("keys.json")).unwrap();
    let header = Header { kid: Some("one".to_owned()), ..Header::new(Algorithm::HS256) };
    let confused = encode(&header, &claims(), &EncodingKey::from_secret(&secret)).unwrap();
    let other_claims = part(&with("sub", json!("bob")));
    for token in [
        stranger.sign(&claims()),
        confused,
        format!("{none}.{body}."),
        format!("{critical}.{body}.{signature}"),
        format!("{head}.{other_claims}.{signature}"),
        format!("{head}.{body}."),
        format!("{head}.{body}"),
        format!("{good}.{signature}"),
        "swt_0123".to_owned(),
        String::new(),
        "x".repeat(20_000),
    ] {
        assert_eq!(resource.caller(&token).await, Err(Denied::Invalid), "{token}");
    }
}

#[tokio::test]
async fn a_key_that_is_gone_makes_its_tokens_no_good() {
    let mut server = Server::new();
    let resource = server.resource();
    let old = server.sign(&claims());
    resource.caller(&old).await.unwrap();
    server.keys.clear();
    server.add_key("two");
    let new = server.sign(&claims());
    // Nobody makes us look again so soon.
    assert_eq!(resource.caller(&new).await, Err(Denied::Invalid));
    resource.caller(&old).await.unwrap();
    resource.look_for_keys().await;
    resource.caller(&new).await.unwrap();
    assert_eq!(resource.caller(&old).await, Err(Denied::Invalid));
}

#[tokio::test]
async fn a_key_that_takes_anothers_name_takes_its_place() {
    let mut server = Server::new();
    let resource = server.resource();
    let cached = server.sign(&claims());
    resource.caller(&cached).await.unwrap();
    let forged = server.sign(&with("sub", json!("victim")));
    server.keys.clear();
    server.add_key("one");
    resource.look_for_keys().await;
    resource.caller(&server.sign(&claims())).await.unwrap();
    for old in [cached, forged] {
        assert_eq!(resource.caller(&old).await, Err(Denied::Invalid));
    }
}

#[tokio::test]
async fn anothers_subject_of_the_same_name_is_somebody_else() {
    let server = Server::new();
    let here = server.resource().caller(&server.sign(&claims())).await.unwrap();
    let issuer = "https://login.elsewhere";
    let config = Config { issuer: issuer.to_owned(), ..server.config() };
    let elsewhere = Oauth::new(config).unwrap();
    let there = elsewhere.caller(&server.sign(&with("iss", json!(issuer)))).await.unwrap();
    assert_eq!(here.name, there.name);
    assert_ne!(here.tenant, there.tenant);
}

#[tokio::test]
async fn without_keys_nobody_can_tell() {
    let server = Server::new();
    let path = server.folder.path().join("keys.json");
    std::fs::remove_file(&path).unwrap();
    let resource = server.resource();
    assert_eq!(resource.caller(&server.sign(&claims())).await, Err(Denied::Unavailable));
}

#[tokio::test]
async fn many_tokens_take_no_more_room_than_there_is() {
    let server = Server::new();
    let resource = server.resource();
    let token = server.sign(&claims());
    let ann = resource.caller(&token).await.unwrap();
    let until = SystemTime::now() + Duration::from_mins(10);
    let generation = resource.keys.generation().unwrap();
    for number in 0..CHECKED_MAX + 10 {
        let known = Checked { principal: ann.clone(), until, generation };
        resource.remember(Digest::of(&number.to_string()), known);
        assert!(resource.checked.lock().unwrap().len() <= CHECKED_MAX);
    }
    resource.caller(&token).await.unwrap();
}

#[test]
fn what_makes_no_sense_is_refused_at_the_start() {
    let good = Server::new().config();
    Oauth::new(good.clone()).unwrap();
    let refused = |config: Config| Oauth::new(config).unwrap_err().to_string();
    for (config, key) in [
        (Config { issuer: String::new(), ..good.clone() }, "auth.oauth.issuer"),
        (Config { issuer: "http://login.example".to_owned(), ..good.clone() }, "https"),
        (Config { resource: String::new(), ..good.clone() }, "auth.oauth.resource"),
        (Config { resource: "https://a/#b".to_owned(), ..good.clone() }, "auth.oauth.resource"),
        (Config { resource: "https://a/*b".to_owned(), ..good.clone() }, "auth.oauth.resource"),
        (Config { resource: "https://a/{b}".to_owned(), ..good.clone() }, "auth.oauth.resource"),
        (Config { resource: "https://a@b/c".to_owned(), ..good.clone() }, "auth.oauth.resource"),
        (Config { algorithms: vec![], ..good.clone() }, "auth.oauth.algorithms"),
        (Config { algorithms: vec![Algorithm::HS256], ..good.clone() }, "auth.oauth.algorithms"),
        (Config { tenant_claim: String::new(), ..good.clone() }, "auth.oauth.tenant_claim"),
        (Config { jwks: "ftp://login.example/keys".to_owned(), ..good }, "https"),
    ] {
        assert!(refused(config).contains(key), "{key}");
    }
}

#[test]
fn clients_are_told_where_tokens_are_given() {
    let metadata = Server::new().resource().metadata().clone();
    let at = "https://sim.example/.well-known/oauth-protected-resource/mcp";
    assert_eq!((metadata.url.as_str(), metadata.path.as_str()), (at, "/mcp"));
    assert_eq!(
        metadata.document,
        json!({
            "resource": "https://sim.example/mcp",
            "authorization_servers": ["https://login.example/lab"],
            "scopes_supported": ["sim:use", "metrics:read", "pool:admin"],
            "bearer_methods_supported": ["header"],
            "resource_name": "simward",
        })
    );
}
