//! Servers: create, control and delete.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serialproxy_audit::EventName;
use serialproxy_proto::api::Adopt;
use serialproxy_proto::api::Adopted;
use serialproxy_proto::api::Boot;
use serialproxy_proto::api::SeenServer;
use serialproxy_proto::api::Server;
use serialproxy_proto::api::ServerAnswer;
use serialproxy_proto::api::Servers;
use serialproxy_proto::api::Stop;
use serialproxy_proto::compute::Power;
use serialproxy_proto::id::ServerId;

use crate::Api;
use crate::auth::Caller;
use crate::auth::Role;
use crate::fault::Fault;
use crate::query::Query;
use crate::request::Body;
use crate::request::ServerPath;
use crate::route::Route;
use crate::scope::age;
use crate::tokens;

/// How long a boot may take: it copies an image, which may be large on a slow disk.
const BOOT: Duration = Duration::from_secs(300);

/// How long an adoption may take: it may stop and start the guest.
const ADOPT: Duration = Duration::from_secs(180);

/// One server, as the caller sees it.
type Answer = Json<ServerAnswer<SeenServer>>;

pub(super) fn routes() -> Vec<Route> {
    let mut routes = vec![
        Route::get("/v1/servers", servers)
            .summary(
                "Lists all servers, ordered by name; marker is the id of the last server of the \
                 previous page",
            )
            .query(&["exact_name", "limit", "marker"])
            .answer("Servers"),
        Route::get("/v1/servers/{server}", server).summary("One server").answer("ServerAnswer"),
        Route::post("/v1/servers", boot)
            .summary("Creates a guest from an image and starts it")
            .body("Boot")
            .others(&[404, 409, 501])
            .answer("ServerAnswer")
            .success(StatusCode::CREATED)
            .limit(BOOT),
        Route::delete("/v1/servers/{server}", delete)
            .summary("Deletes a guest that serialproxy created, and its console tokens")
            .others(&[409, 501])
            .success(StatusCode::NO_CONTENT),
        Route::post("/v1/servers/{server}/stop", stop)
            .summary("Shuts a guest down, and cuts its power after a timeout")
            .body("Stop")
            .others(&[409, 501])
            .success(StatusCode::ACCEPTED)
            .limit(Duration::from_secs(Stop::MOST_SECONDS + 60)),
    ];
    routes.extend([
        Route::post("/v1/servers/{server}/adopt", adopt)
            .summary("Gives TCP serial ports to an existing domain")
            .body("Adopt")
            .others(&[409, 501])
            .answer("Adopted")
            .limit(ADOPT),
        Route::delete("/v1/servers/{server}/adopt", unadopt)
            .summary("Undoes an adoption: restores the domain's XML")
            .others(&[409, 501])
            .answer("ServerAnswer"),
    ]);
    routes.extend([
        power("start", Power::Start, "Starts a stopped server"),
        power("reboot", Power::Reboot, "Reboots a guest"),
        power("reset", Power::Reset, "Resets a server at once"),
        power("nmi", Power::Nmi, "Sends a non-maskable interrupt"),
        power("pause", Power::Pause, "Pauses a server"),
        power("resume", Power::Resume, "Resumes a paused server, or wakes a suspended one"),
    ]);
    routes
}

fn power(action: &str, power: Power, summary: &'static str) -> Route {
    let handler =
        async move |State(api): State<Arc<Api>>, caller: Caller, ServerPath(server): ServerPath| {
            change_power(&api, &caller, server, power).await
        };
    Route::post(format!("/v1/servers/{{server}}/{action}"), handler)
        .summary(summary)
        .others(&[409, 501])
        .success(StatusCode::ACCEPTED)
}

async fn servers(
    State(api): State<Arc<Api>>,
    caller: Caller,
    query: Query,
) -> Result<impl IntoResponse, Fault> {
    let limit = query.limit()?;
    let marker = match query.text("marker") {
        Some(marker) => Some(api.marker(&caller, marker, |_| true).await?),
        None => None,
    };
    let fits = |server: &Server| query.text("exact_name").is_none_or(|name| server.name == name);
    let found = api.servers(&caller, marker.as_ref(), limit, fits).await?;
    let servers = found.servers.into_iter().map(|server| caller.sees(server)).collect();
    Ok((age(found.as_of), Json(Servers::new(servers, found.as_of))))
}

async fn server(
    State(api): State<Arc<Api>>,
    caller: Caller,
    ServerPath(server): ServerPath,
) -> Result<Answer, Fault> {
    Ok(seen(&caller, api.server(&caller, server).await?))
}

async fn boot(State(api): State<Arc<Api>>, caller: Caller, body: Body) -> Result<Answer, Fault> {
    caller.require(Role::Member, "os_compute_api:servers:create")?;
    let boot: Boot = body.read()?;
    let servers = Arc::clone(&api.servers);
    let (project, audit) = (caller.project.clone(), api.audit.clone());
    let event = caller.event(EventName::GuestPower).cause("boot");
    let booted = async move {
        let server = servers.boot(boot, project).await?;
        audit.record(event.server(server.id).server_name(Some(server.name.clone())));
        Ok(server)
    };
    Ok(seen(&caller, api.change(booted).await?))
}

async fn delete(
    State(api): State<Arc<Api>>,
    caller: Caller,
    ServerPath(server): ServerPath,
) -> Result<(), Fault> {
    let known = api.server(&caller, server).await?;
    caller.require(Role::Member, "os_compute_api:servers:delete")?;
    let servers = Arc::clone(&api.servers);
    let (grants, audit) = (api.grants.clone(), api.audit.clone());
    let deletion = caller.event_at(EventName::GuestPower, &known).cause("delete");
    let revocation = caller.event_at(EventName::TokenRevoked, &known).cause("gone");
    let deleted = async move {
        servers.delete(server).await?;
        audit.record(deletion);
        tokens::revoke(&grants, server).await;
        audit.record(revocation);
        Ok(())
    };
    api.change(deleted).await
}

async fn adopt(
    State(api): State<Arc<Api>>,
    caller: Caller,
    ServerPath(server): ServerPath,
    body: Body,
) -> Result<Json<Adopted<SeenServer>>, Fault> {
    let adopt: Adopt = if body.is_empty() { Adopt::default() } else { body.read()? };
    let known = may_adopt(&api, &caller, server).await?;
    let user = caller.user.clone();
    let (servers, audit) = (Arc::clone(&api.servers), api.audit.clone());
    let event = caller.event_at(EventName::GuestAdopted, &known).cause("adopted");
    let adopted = async move {
        let adopted = servers.adopt(server, adopt).await?;
        tracing::info!(user, name = adopted.server.name, %server, "adopted");
        audit.record(event);
        Ok(adopted)
    };
    let Adopted { server, ports } = api.change(adopted).await?;
    Ok(Json(Adopted { server: caller.sees(server), ports }))
}

async fn unadopt(
    State(api): State<Arc<Api>>,
    caller: Caller,
    ServerPath(server): ServerPath,
) -> Result<Answer, Fault> {
    let known = may_adopt(&api, &caller, server).await?;
    let user = caller.user.clone();
    let (servers, audit) = (Arc::clone(&api.servers), api.audit.clone());
    let event = caller.event_at(EventName::GuestAdopted, &known).cause("undone");
    let taken_back = async move {
        let server_now = servers.unadopt(server).await?;
        let name = &server_now.name;
        tracing::info!(user, name, %server, "adoption undone");
        audit.record(event);
        Ok(server_now)
    };
    Ok(seen(&caller, api.change(taken_back).await?))
}

fn seen(caller: &Caller, server: Server) -> Answer {
    Json(ServerAnswer { server: caller.sees(server) })
}

/// Adoption changes a domain that others defined, so it is for administrators of the hypervisor.
async fn may_adopt(api: &Api, caller: &Caller, server: ServerId) -> Result<Server, Fault> {
    let server = api.server(caller, server).await?;
    caller.require(Role::Admin, "serialproxy:servers:adopt")?;
    Ok(server)
}

async fn stop(
    State(api): State<Arc<Api>>,
    caller: Caller,
    ServerPath(server): ServerPath,
    body: Body,
) -> Result<(), Fault> {
    let stop: Stop = if body.is_empty() { Stop::default() } else { body.read()? };
    if stop.timeout.is_some_and(|timeout| timeout > Stop::MOST_SECONDS) {
        let most = Stop::MOST_SECONDS;
        return Err(Fault::BadRequest(format!("timeout: at most {most} seconds")));
    }
    change_power(&api, &caller, server, Power::Stop(stop)).await
}

fn policy(power: &Power) -> &'static str {
    match power {
        Power::Start => "os_compute_api:servers:start",
        Power::Stop(_) => "os_compute_api:servers:stop",
        Power::Reboot => "os_compute_api:servers:reboot",
        Power::Reset => "serialproxy:servers:reset",
        Power::Nmi => "serialproxy:servers:nmi",
        Power::Pause => "os_compute_api:os-pause-server:pause",
        Power::Resume => "os_compute_api:os-pause-server:unpause",
    }
}

async fn change_power(
    api: &Api,
    caller: &Caller,
    server: ServerId,
    power: Power,
) -> Result<(), Fault> {
    let server = api.server(caller, server).await?;
    caller.require(Role::Member, policy(&power))?;
    api.change_power(caller, server, power).await
}
