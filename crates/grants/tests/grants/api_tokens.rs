use jiff::Timestamp;
use serialproxy_e2e::etcd::Etcd as Nodes;
use serialproxy_grants::ApiToken;
use serialproxy_grants::Grants;
use serialproxy_proto::identity::Identity;
use serialproxy_proto::identity::Role;
use serialproxy_proto::token::TokenDigest;

use crate::at;
use crate::everywhere;

fn token(name: &str, expires: Option<i64>) -> ApiToken {
    let identity = Identity {
        user: "alice".into(),
        user_id: "0fe7".into(),
        project: "demo".into(),
        role: Role::Member,
    };
    let (name, expires) = (Some(name.to_owned()), expires.map(at));
    ApiToken { name, identity, created: at(0), expires, sealed: None }
}

fn digest(text: &str) -> TokenDigest {
    TokenDigest::of(text)
}

everywhere! {
    async fn a_token_is_found_until_it_expires_and_one_without_an_end_for_ever(grants) {
        let (short, long) = (token("a", Some(600)), token("b", None));
        assert!(grants.add_api_token(digest("a"), short.clone()).await.unwrap());
        assert!(grants.add_api_token(digest("b"), long.clone()).await.unwrap());
        assert_eq!(grants.api_token(digest("a"), at(599)).await.unwrap(), Some(short));
        assert_eq!(grants.api_token(digest("a"), at(600)).await.unwrap(), None);
        assert_eq!(grants.api_token(digest("b"), Timestamp::MAX).await.unwrap(), Some(long));
        assert_eq!(grants.api_token(digest("c"), at(0)).await.unwrap(), None);
    }

    async fn a_name_is_used_once_and_free_again_when_its_token_is_revoked(grants) {
        assert!(grants.add_api_token(digest("a"), token("ci", None)).await.unwrap());
        assert!(!grants.add_api_token(digest("b"), token("ci", None)).await.unwrap());
        assert!(grants.api_token(digest("b"), at(0)).await.unwrap().is_none());
        assert!(grants.revoke_named_api_token("ci").await.unwrap());
        assert!(!grants.revoke_named_api_token("ci").await.unwrap());
        assert!(grants.api_token(digest("a"), at(0)).await.unwrap().is_none());
        assert!(grants.add_api_token(digest("b"), token("ci", None)).await.unwrap());
    }

    async fn the_logins_of_a_user_end_together_and_their_named_tokens_stay(grants) {
        let login = ApiToken { name: None, ..token("", Some(600)) };
        let identity = Identity { user_id: "other".into(), ..login.identity.clone() };
        let others = ApiToken { identity, ..login.clone() };
        for (text, token) in [("a", login.clone()), ("b", login), ("c", others), ("d", token("ci", None))] {
            assert!(grants.add_api_token(digest(text), token).await.unwrap());
        }
        grants.end_logins("0fe7").await.unwrap();
        for (text, is_valid) in [("a", false), ("b", false), ("c", true), ("d", true)] {
            let found = grants.api_token(digest(text), at(0)).await.unwrap();
            assert_eq!(found.is_some(), is_valid, "{text}");
        }
    }

    async fn a_named_token_is_listed_until_it_is_revoked_by_itself(grants) {
        for name in ["b", "a"] {
            assert!(grants.add_api_token(digest(name), token(name, Some(600))).await.unwrap());
        }
        let all = [token("a", Some(600)), token("b", Some(600))];
        assert_eq!(grants.named_api_tokens().await.unwrap(), all);
        assert!(grants.revoke_api_token(digest("a")).await.unwrap());
        assert!(!grants.revoke_api_token(digest("a")).await.unwrap());
        assert_eq!(grants.named_api_tokens().await.unwrap(), all[1..]);
        assert!(grants.add_api_token(digest("c"), token("a", None)).await.unwrap());
    }
}
