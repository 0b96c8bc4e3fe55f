//! Links that users share.

use jiff::Timestamp;
use serialproxy_e2e::etcd::Etcd as Nodes;
use serialproxy_grants::Grants;
use serialproxy_grants::LINKS;
use serialproxy_grants::OWN_LINKS;
use serialproxy_proto::id::LinkId;
use serialproxy_proto::token::Grant;
use serialproxy_proto::token::SharedLink;

use crate::a_grant;
use crate::at;
use crate::everywhere;

/// The grant of a link to a server's line, which this user made at that second.
fn link(server: &str, maker: &str, created: Timestamp) -> Grant {
    let link = SharedLink { id: LinkId::new(), maker: maker.into(), created };
    Grant { link: Some(link), ..a_grant(server, at(600)) }
}

fn id(grant: &Grant) -> LinkId {
    grant.link.as_ref().unwrap().id
}

everywhere! {
    async fn a_line_has_its_live_links_and_no_other_tokens(grants) {
        let (old, new) = (link("a", "alice", at(1)), link("a", "bob", at(2)));
        let line = old.line;
        for shared in [&old, &new, &link("b", "alice", at(3))] {
            assert!(grants.share(shared.clone(), at(3)).await.unwrap().is_some());
        }
        grants.authorize(a_grant("a", at(600))).await.unwrap();
        assert_eq!(grants.links(line, at(3)).await.unwrap(), [new, old]);
        assert_eq!(grants.links(line, at(600)).await.unwrap(), []);
    }

    async fn a_revoked_link_gives_nothing_and_leaves_the_others(grants) {
        let (gone, kept) = (link("a", "alice", at(1)), link("a", "alice", at(2)));
        let line = gone.line;
        let token = grants.share(gone.clone(), at(2)).await.unwrap().unwrap().digest();
        let other = grants.share(kept.clone(), at(2)).await.unwrap().unwrap().digest();
        assert_eq!(grants.validate(token, at(2)).await.unwrap(), Some(gone.clone()));
        assert!(!grants.revoke_link(link("b", "alice", at(1)).line, id(&gone)).await.unwrap());
        assert!(grants.revoke_link(line, id(&gone)).await.unwrap());
        assert!(!grants.revoke_link(line, id(&gone)).await.unwrap());
        assert_eq!(grants.validate(token, at(2)).await.unwrap(), None);
        assert_eq!(grants.validate(other, at(2)).await.unwrap(), Some(kept.clone()));
        assert!(grants.revoke(other).await.unwrap());
        assert_eq!(grants.links(line, at(2)).await.unwrap(), []);
    }

    async fn the_links_of_a_user_or_a_server_end_together(grants) {
        let (of_alice, of_bob) = (link("a", "alice", at(1)), link("a", "bob", at(1)));
        for shared in [&of_alice, &of_bob, &link("b", "alice", at(1))] {
            grants.share(shared.clone(), at(2)).await.unwrap().unwrap();
        }
        assert_eq!(grants.revoke_links_of("alice").await.unwrap(), 2);
        assert_eq!(grants.links(of_bob.line, at(2)).await.unwrap(), std::slice::from_ref(&of_bob));
        assert_eq!(grants.revoke_tokens_of(of_bob.line.server).await.unwrap(), 1);
        assert_eq!(grants.links(of_bob.line, at(2)).await.unwrap(), []);
    }

    async fn a_user_and_a_line_have_so_many_links_at_a_time(grants) {
        let line = link("a", "", at(1)).line;
        for user in ["alice", "bob", "carol", "dan", "eve"] {
            for _ in 0..OWN_LINKS {
                assert!(grants.share(link("a", user, at(1)), at(2)).await.unwrap().is_some());
            }
            assert!(grants.share(link("a", user, at(1)), at(2)).await.unwrap().is_none());
        }
        let all = grants.links(line, at(2)).await.unwrap();
        assert_eq!(all.len(), LINKS);
        assert!(grants.share(link("a", "frank", at(1)), at(2)).await.unwrap().is_none());
        assert!(grants.share(link("b", "alice", at(1)), at(2)).await.unwrap().is_some());
        assert!(grants.revoke_link(line, id(all.first().unwrap())).await.unwrap());
        assert!(grants.share(link("a", "frank", at(1)), at(2)).await.unwrap().is_some());
    }
}
