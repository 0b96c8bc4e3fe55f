//! The audit trail, of this host and of those of its cluster.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serialproxy_proto::audit;
use serialproxy_proto::audit::Others;
use serialproxy_proto::audit::Page;

use crate::Api;
use crate::auth::Caller;
use crate::auth::Role;
use crate::fault::Fault;
use crate::query::Query;
use crate::route::Route;

pub(super) fn routes() -> [Route; 1] {
    [Route::get("/v1/audit", events)
        .summary(
            "Lists events of the audit trail, the oldest first; marker is `next` of the previous page, \
             which may have few events, or none. Administrators only",
        )
        .query(&["server", "user", "since", "limit", "marker"])
        .answer("AuditEvents")]
}

async fn events(
    State(api): State<Arc<Api>>,
    caller: Caller,
    query: Query,
) -> Result<Json<Page>, Fault> {
    caller.require(Role::Admin, "serialproxy:audit")?;
    let wanted = audit::Query {
        server: query.text("server").map(str::to_owned),
        user: query.text("user").map(str::to_owned),
        since: query.value("since", "a time in RFC 3339, for example 2026-11-30T08:00:00Z")?,
        marker: query.value("marker", "`next` of the previous page")?,
        limit: query.limit()?,
    };
    let own = own_events(&api, wanted.clone());
    let others = async {
        match &api.trails {
            Some(trails) => trails.others(wanted.clone()).await.map_err(Fault::from),
            None => Ok(Others::default()),
        }
    };
    let (own, others) = tokio::join!(own, others);
    Ok(Json(serialproxy_audit::merge(own?, others?, &wanted)))
}

/// The files are read by a thread that may wait.
async fn own_events(api: &Api, wanted: audit::Query) -> Result<Page, Fault> {
    let audit = api.audit.clone();
    match tokio::task::spawn_blocking(move || audit.read(&wanted)).await {
        Ok(Ok(page)) => Ok(page),
        Ok(Err(error)) => {
            Err(Fault::Unavailable(format!("the audit trail cannot be read: {error}")))
        }
        Err(_) => Err(Fault::Failed("the audit trail could not be read".into())),
    }
}
