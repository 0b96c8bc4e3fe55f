use serialproxy_e2e::etcd::Etcd as Nodes;
use serialproxy_grants::ApiToken;
use serialproxy_grants::Grants;
use serialproxy_grants::User;
use serialproxy_proto::identity::Identity;
use serialproxy_proto::identity::Role;
use serialproxy_proto::token::TokenDigest;

use crate::at;
use crate::everywhere;

fn user(name: &str) -> User {
    let identity = Identity {
        user: name.into(),
        user_id: format!("id-of-{name}"),
        project: "demo".into(),
        role: Role::Member,
    };
    User { identity, created: at(0) }
}

async fn with_alice(grants: &Grants) -> &Grants {
    assert!(grants.add_user(user("alice"), "hash-1".into()).await.unwrap());
    grants
}

async fn log_in(grants: &Grants, token: &str, hash: &str) -> bool {
    let (digest, hash) = (TokenDigest::of(token), hash.to_owned());
    grants.log_in(digest, "id-of-alice", hash, [at(0), at(3600)]).await.unwrap()
}

async fn is_good(grants: &Grants, token: &str) -> bool {
    grants.api_token(TokenDigest::of(token), at(0)).await.unwrap().is_some()
}

everywhere! {
    async fn a_user_is_found_by_name_and_by_id_and_a_name_is_used_once(grants) {
        let grants = with_alice(grants).await;
        assert!(!grants.add_user(user("alice"), "hash-2".into()).await.unwrap());
        for name_or_id in ["alice", "id-of-alice"] {
            let found = grants.user(name_or_id).await.unwrap();
            assert_eq!(found, Some((user("alice"), "hash-1".to_owned())));
        }
        assert_eq!(grants.user("bob").await.unwrap(), None);
        assert!(grants.add_user(user("id-of-alice"), "x".into()).await.unwrap());
        assert_eq!(grants.user("id-of-alice").await.unwrap().unwrap().0, user("id-of-alice"));
        assert_eq!(grants.users().await.unwrap(), [user("alice"), user("id-of-alice")]);
    }

    async fn a_login_is_the_users_and_ends_in_time(grants) {
        let grants = with_alice(grants).await;
        assert!(log_in(grants, "a", "hash-1").await);
        let login = grants.api_token(TokenDigest::of("a"), at(3599)).await.unwrap().unwrap();
        assert_eq!((login.name, login.identity), (None, user("alice").identity));
        assert_eq!(grants.api_token(TokenDigest::of("a"), at(3600)).await.unwrap(), None);
        assert!(grants.named_api_tokens().await.unwrap().is_empty());
    }

    async fn another_password_ends_the_logins_and_a_login_that_is_late_fails(grants) {
        let grants = with_alice(grants).await;
        assert!(log_in(grants, "a", "hash-1").await);
        assert!(grants.set_password("alice", "hash-2".into()).await.unwrap());
        assert!(!is_good(grants, "a").await);
        assert!(!log_in(grants, "b", "hash-1").await);
        assert!(!is_good(grants, "b").await);
        assert!(log_in(grants, "c", "hash-2").await);
        assert!(!grants.set_password("bob", "hash".into()).await.unwrap());
    }

    async fn with_a_user_their_logins_go_and_named_tokens_stay(grants) {
        let grants = with_alice(grants).await;
        assert!(log_in(grants, "a", "hash-1").await);
        let (name, identity) = (Some("ci".to_owned()), user("alice").identity);
        let token = ApiToken { name, identity, created: at(0), expires: None, sealed: None };
        grants.add_api_token(TokenDigest::of("ci"), token).await.unwrap();
        assert!(grants.remove_user("alice").await.unwrap());
        assert!(!grants.remove_user("alice").await.unwrap());
        assert!(!is_good(grants, "a").await && is_good(grants, "ci").await);
    }

    async fn one_user_has_a_thousand_logins_at_most_and_the_oldest_goes(grants) {
        let grants = with_alice(grants).await;
        for index in 0..=1000 {
            let digest = TokenDigest::of(&index.to_string());
            let times = [at(index), at(9999)];
            assert!(grants.log_in(digest, "id-of-alice", "hash-1".into(), times).await.unwrap());
        }
        for (token, good) in [("0", false), ("1", true), ("1000", true)] {
            assert_eq!(is_good(grants, token).await, good, "{token}");
        }
    }

    async fn logins_by_another_token_keep_it_and_are_as_many_at_most(grants) {
        for index in 0..=1000 {
            let token = ApiToken {
                name: None,
                identity: user("ci").identity,
                created: at(index),
                expires: Some(at(9999)),
                sealed: Some(format!("sealed {index}")),
            };
            let digest = TokenDigest::of(&index.to_string());
            assert!(grants.add_api_token(digest, token).await.unwrap());
        }
        assert!(!is_good(grants, "0").await);
        let newest = grants.api_token(TokenDigest::of("1000"), at(1001)).await.unwrap().unwrap();
        assert_eq!(newest.sealed.as_deref(), Some("sealed 1000"));
    }
}
