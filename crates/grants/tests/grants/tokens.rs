use serialproxy_e2e::etcd::Etcd as Nodes;
use serialproxy_grants::Grants;
use serialproxy_proto::token::ConsoleToken;

use crate::a_grant;
use crate::at;
use crate::everywhere;

everywhere! {
    async fn a_token_gives_its_grant_as_often_as_it_is_asked_until_it_expires(grants) {
        let token = grants.authorize(a_grant("a", at(600))).await.unwrap();
        for second in [0, 599] {
            let found = grants.validate(token.digest(), at(second)).await.unwrap();
            assert_eq!(found, Some(a_grant("a", at(600))));
        }
        assert_eq!(grants.validate(token.digest(), at(600)).await.unwrap(), None);
    }

    async fn an_unknown_token_gives_nothing(grants) {
        grants.authorize(a_grant("a", at(600))).await.unwrap();
        let unknown = ConsoleToken::new().digest();
        assert_eq!(grants.validate(unknown, at(0)).await.unwrap(), None);
        assert!(!grants.spend(unknown).await.unwrap());
        assert!(!grants.revoke(unknown).await.unwrap());
    }

    async fn revoking_a_servers_tokens_leaves_those_of_others(grants) {
        let mut gone = Vec::new();
        for _ in 0..70 {
            gone.push(grants.authorize(a_grant("a", at(600))).await.unwrap());
        }
        let kept = grants.authorize(a_grant("b", at(600))).await.unwrap();
        assert!(grants.revoke(gone.pop().unwrap().digest()).await.unwrap());
        let server = a_grant("a", at(0)).line.server;
        assert_eq!(grants.revoke_tokens_of(server).await.unwrap(), 69);
        assert_eq!(grants.revoke_tokens_of(server).await.unwrap(), 0);
        for token in gone {
            assert!(grants.validate(token.digest(), at(0)).await.unwrap().is_none());
        }
        assert!(grants.validate(kept.digest(), at(0)).await.unwrap().is_some());
    }

    async fn of_two_who_spend_or_revoke_a_token_one_wins(grants) {
        let spent = grants.authorize(a_grant("a", at(600))).await.unwrap().digest();
        assert!(grants.spend(spent).await.unwrap());
        assert!(!grants.spend(spent).await.unwrap());
        assert!(!grants.revoke(spent).await.unwrap());
        assert_eq!(grants.validate(spent, at(0)).await.unwrap(), None);
        let revoked = grants.authorize(a_grant("a", at(600))).await.unwrap().digest();
        assert!(grants.revoke(revoked).await.unwrap());
        assert!(!grants.revoke(revoked).await.unwrap());
        assert!(!grants.spend(revoked).await.unwrap());
    }
}
