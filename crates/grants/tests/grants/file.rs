use serialproxy_grants::ApiToken;
use serialproxy_grants::Grants;
use serialproxy_proto::identity::Identity;
use serialproxy_proto::identity::Role;
use serialproxy_proto::token::TokenDigest;
use tempfile::TempDir;

use crate::a_grant;
use crate::at;

fn grants() -> (TempDir, Grants) {
    let directory = tempfile::tempdir().unwrap();
    let grants = Grants::open(&directory.path().join("store.sqlite")).unwrap();
    (directory, grants)
}

#[tokio::test]
async fn a_revocation_is_counted_by_the_time_that_it_is_done() {
    let (_directory, grants) = grants();
    let one = grants.authorize(a_grant("a", at(600))).await.unwrap();
    grants.authorize(a_grant("b", at(600))).await.unwrap();
    let before = grants.revocations().unwrap();
    grants.revoke(one.digest()).await.unwrap();
    let between = grants.revocations().unwrap();
    grants.revoke_tokens_of(a_grant("b", at(0)).line.server).await.unwrap();
    assert!(before < between && between < grants.revocations().unwrap());
}

#[tokio::test]
async fn the_token_itself_is_nowhere_in_the_file() {
    let (directory, grants) = grants();
    let token = grants.authorize(a_grant("a", at(600))).await.unwrap();
    drop(grants);
    for entry in std::fs::read_dir(directory.path()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        let needle = token.expose().as_bytes();
        assert!(!bytes.windows(needle.len()).any(|window| window == needle));
    }
}

#[tokio::test]
async fn purging_removes_expired_tokens_only() {
    let (_directory, grants) = grants();
    grants.authorize(a_grant("a", at(10))).await.unwrap();
    let fresh = grants.authorize(a_grant("a", at(11))).await.unwrap();
    for (name, expires) in [("short", Some(at(10))), ("long", None)] {
        let (user, user_id, project) = ("alice".into(), "0fe7".into(), "demo".into());
        let identity = Identity { user, user_id, project, role: Role::Member };
        let token =
            ApiToken { name: Some(name.into()), identity, created: at(0), expires, sealed: None };
        grants.add_api_token(TokenDigest::of(name), token).await.unwrap();
    }
    assert_eq!(grants.purge_expired_tokens(at(10)).await.unwrap(), 2);
    assert!(grants.validate(fresh.digest(), at(10)).await.unwrap().is_some());
    let named = grants.named_api_tokens().await.unwrap();
    assert!(named.iter().map(|token| token.name.as_deref()).eq([Some("long")]));
}
