//! Commands that change something: guests, their power, and sessions.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use serialproxy_proto::api;
use serialproxy_proto::api::Adopted;
use serialproxy_proto::api::AdoptedPort;
use serialproxy_proto::api::Disconnected;
use serialproxy_proto::api::ServerAnswer;
use serialproxy_proto::api::Status;
use serialproxy_proto::id::ServerId;
use serialproxy_proto::times::rfc3339;
use tokio::time::Instant;
use tokio::time::sleep;

use crate::api::ANSWER_TIME;
use crate::api::Api;
use crate::api::ServerRow;
use crate::command::Adopt;
use crate::command::Boot;
use crate::command::Disconnect;
use crate::command::Format;
use crate::command::Port;
use crate::command::Server;
use crate::command::Stop;
use crate::command::Sysrq;
use crate::failure::Failure;
use crate::queries::server_table;
use crate::queries::show;
use crate::text::printable;
use crate::text::say;

/// How long a guest may take to do what it is asked, unless the command sets another time.
const GUEST_TIME: Duration = Duration::from_secs(60);
/// How long the power may take to go off after that.
const POWER_OFF_TIME: Duration = Duration::from_secs(15);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// A stop without an answer within this time was not refused.
const REFUSAL_TIME: Duration = Duration::from_secs(1);

pub(crate) async fn boot(api: &Api, command: &Boot, format: Format) -> Result<String, Failure> {
    let body = api::Boot {
        name: command.name.clone(),
        image: command.image.clone(),
        properties: command.properties.iter().cloned().collect(),
        flavor_properties: command.flavor_properties.iter().cloned().collect(),
        host: command.host.clone(),
    };
    let answer = api.call(Method::POST, "/v1/servers", &[], Some(json!(body))).await?;
    show(format, answer, |answer| {
        let server = api.read::<ServerAnswer<ServerRow>>(answer)?.server;
        Ok(server_table(vec![server]))
    })
}

pub(crate) async fn start(api: &Api, command: &Server) -> Result<String, Failure> {
    power(api, &command.server, "start").await
}

pub(crate) async fn reboot(api: &Api, command: &Server) -> Result<String, Failure> {
    power(api, &command.server, "reboot").await
}

pub(crate) async fn reset(api: &Api, command: &Server) -> Result<String, Failure> {
    power(api, &command.server, "reset").await
}

pub(crate) async fn pause(api: &Api, command: &Server) -> Result<String, Failure> {
    power(api, &command.server, "pause").await
}

pub(crate) async fn resume(api: &Api, command: &Server) -> Result<String, Failure> {
    power(api, &command.server, "resume").await
}

pub(crate) async fn nmi(api: &Api, command: &Server) -> Result<String, Failure> {
    power(api, &command.server, "nmi").await
}

/// Sends a break to a serial port.
pub(crate) async fn send_break(api: &Api, command: &Port) -> Result<String, Failure> {
    let id = api.find(&command.server).await?;
    let path = format!("/v1/lines/{id}/{}/break", command.port);
    api.call(Method::POST, &path, &[], None).await?;
    say(&format!("sent a break to {}, port {}", command.server, command.port));
    Ok(String::new())
}

/// Sends a magic SysRq over a serial port.
pub(crate) async fn sysrq(api: &Api, command: &Sysrq) -> Result<String, Failure> {
    let id = api.find(&command.server).await?;
    let path = format!("/v1/lines/{id}/{}/sysrq", command.port);
    let body = api::Sysrq { key: command.key };
    api.call(Method::POST, &path, &[], Some(json!(body))).await?;
    let Sysrq { server, key, port } = command;
    say(&format!("sent SysRq {key} to {server}, port {port}"));
    Ok(String::new())
}

/// Gives a domain serial ports, or restores its earlier ones.
pub(crate) async fn adopt(api: &Api, command: &Adopt, format: Format) -> Result<String, Failure> {
    let id = api.find(&command.domain).await?;
    let path = format!("/v1/servers/{id}/adopt");
    let answer = if command.undo {
        api.call(Method::DELETE, &path, &[], None).await?
    } else {
        let body = api::Adopt { serial_ports: command.serial_ports, restart: command.restart };
        // A restart first gives the guest its time to shut down.
        let limit = GUEST_TIME + POWER_OFF_TIME + ANSWER_TIME;
        api.call_within(limit, Method::POST, &path, &[], Some(json!(body))).await?
    };
    let Adopted { server, ports } = api.read::<Adopted<ServerRow>>(answer.clone())?;
    for AdoptedPort { port, was, now } in ports {
        let was = was.map_or_else(|| "is new".into(), |was| format!("was {was}"));
        say(&format!("port {port} {was}, and is {now}"));
    }
    if server.status != Status::Shutoff.as_str() && !command.restart {
        let restart = if command.undo { "" } else { "; --restart applies it now" };
        say(&format!(
            "{} is running: the change takes effect at its next start{restart}",
            server.name
        ));
    }
    show(format, answer, |_| Ok(server_table(vec![server])))
}

async fn power(api: &Api, server: &str, action: &str) -> Result<String, Failure> {
    let id = api.find(server).await?;
    let path = format!("/v1/servers/{id}/{action}");
    api.call_within(GUEST_TIME + ANSWER_TIME, Method::POST, &path, &[], None).await?;
    say(&format!("{server}: {action} accepted"));
    Ok(String::new())
}

/// Requests the stop, and waits until the server is off.
pub(crate) async fn stop(api: &Api, command: &Stop) -> Result<String, Failure> {
    let id = api.find(&command.server).await?;
    let body =
        api::Stop { timeout: (!command.force).then_some(command.timeout), force: command.force };
    let guest_time = Duration::from_secs(if command.force { 0 } else { command.timeout });
    let server = &command.server;
    let path = format!("/v1/servers/{id}/stop");
    let limit = guest_time + ANSWER_TIME;
    let stopping = api.call_within(limit, Method::POST, &path, &[], Some(json!(body)));
    let mut stopping = std::pin::pin!(stopping);
    tokio::select! {
        answer = &mut stopping => answer?,
        () = sleep(REFUSAL_TIME) => {
            if !command.force {
                let seconds = command.timeout;
                say(&format!("{server} has {seconds} s to shut down; then its power is cut"));
            }
            stopping.await?
        }
    };
    until_off(api, id, server, guest_time + POWER_OFF_TIME).await?;
    say(&format!("{server} is off"));
    Ok(String::new())
}

async fn until_off(api: &Api, id: ServerId, name: &str, limit: Duration) -> Result<(), Failure> {
    let start = Instant::now();
    let mut pause = Duration::from_millis(50);
    while api.server(id).await?.status != Status::Shutoff.as_str() {
        if start.elapsed() >= limit {
            let seconds = limit.as_secs();
            return Err(Failure::StillRuns { server: name.to_owned(), seconds });
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
    Ok(())
}

pub(crate) async fn delete(api: &Api, command: &Server) -> Result<String, Failure> {
    let id = api.find(&command.server).await?;
    api.call(Method::DELETE, &format!("/v1/servers/{id}"), &[], None).await?;
    say(&format!("deleted {}", command.server));
    Ok(String::new())
}

/// Ends a session by its id, or the one that writes to a server's port.
pub(crate) async fn disconnect(
    api: &Api,
    command: &Disconnect,
    format: Format,
) -> Result<String, Failure> {
    let mut query: Vec<_> = command.reason.iter().map(|text| ("reason", text.as_str())).collect();
    if let Some(session) = command.session {
        api.call(Method::DELETE, &format!("/v1/sessions/{session}"), &query, None).await?;
        say(&format!("disconnected session {session}"));
        return Ok(String::new());
    }
    let id = api.find(command.server.as_deref().unwrap_or_default()).await?;
    let path = format!("/v3/servers/{id}/disconnect-serial-console");
    let port = command.port.to_string();
    query.push(("port", &port));
    let answer = api.call(Method::POST, &path, &query, None).await?;
    show(format, answer, |answer| {
        let writer = api.read::<Disconnected>(answer)?.disconnected;
        let (user, since) = (printable(&writer.user), rfc3339(writer.since));
        Ok(format!("disconnected {user}, who was typing since {since}\n"))
    })
}
