//! The command line for people: the commands that call the API, and `connect`, a terminal at a
//! serial console.
//!
//! The crate uses REST and the `console.v1` WebSocket protocol, and stores nothing between two
//! runs but the last answers for completion. Results go to stdout, everything else to stderr.

mod access;
mod api;
mod audit;
mod command;
mod completion;
mod connect;
mod failure;
mod guests;
mod log;
mod password;
mod queries;
mod run;
mod script;
mod servers;
mod settings;
mod status;
mod text;

use std::io::Write;

pub use command::Command;
pub use completion::completing;
pub use failure::Outcome;
pub use status::Welcome;

use crate::api::Api;
use crate::command::ClientArgs;
use crate::failure::Failure;

/// Runs one command to its end. Errors were printed to stderr.
pub async fn run(command: Command) -> Outcome {
    match execute(command).await {
        Ok(()) => Outcome::Done,
        Err(failure) => {
            // The command at the guest has said what there is to say.
            if !matches!(failure, Failure::Exited(_)) {
                text::say(&failure.to_string());
            }
            failure.outcome()
        }
    }
}

async fn execute(command: Command) -> Result<(), Failure> {
    let api = |args: &ClientArgs| Api::new(args, std::env::var("SERIALPROXY_TOKEN").ok());
    let answer = match command {
        Command::GetSerialConsole(call) => {
            queries::console(&api(&call.client)?, &call.command, call.client.format).await?
        }
        Command::Servers(call) => servers::servers(&api(&call.client)?, call.client.format).await?,
        Command::Sessions(call) => {
            queries::sessions(&api(&call.client)?, call.client.format).await?
        }
        Command::Status(call) => status::status(&api(&call.client)?, &call.client).await?,
        Command::Disconnect(call) => {
            guests::disconnect(&api(&call.client)?, &call.command, call.client.format).await?
        }
        Command::Boot(call) => {
            guests::boot(&api(&call.client)?, &call.command, call.client.format).await?
        }
        Command::Log(call) => {
            log::log(&api(&call.client)?, &call.command).await?;
            String::new()
        }
        Command::Audit(call) => {
            audit::audit(&api(&call.client)?, &call.command, call.client.format).await?;
            String::new()
        }
        Command::Run(call) => {
            Box::pin(run::run(&api(&call.client)?, &call.command)).await?;
            String::new()
        }
        Command::Send(call) => {
            script::send(&api(&call.client)?, &call.command, call.client.format).await?
        }
        Command::Expect(call) => {
            script::expect(&api(&call.client)?, &call.command, call.client.format).await?
        }
        Command::Break(call) => guests::send_break(&api(&call.client)?, &call.command).await?,
        Command::Sysrq(call) => guests::sysrq(&api(&call.client)?, &call.command).await?,
        Command::Nmi(call) => guests::nmi(&api(&call.client)?, &call.command).await?,
        Command::Reset(call) => guests::reset(&api(&call.client)?, &call.command).await?,
        Command::Adopt(call) => {
            guests::adopt(&api(&call.client)?, &call.command, call.client.format).await?
        }
        Command::Start(call) => guests::start(&api(&call.client)?, &call.command).await?,
        Command::Stop(call) => guests::stop(&api(&call.client)?, &call.command).await?,
        Command::Reboot(call) => guests::reboot(&api(&call.client)?, &call.command).await?,
        Command::Pause(call) => guests::pause(&api(&call.client)?, &call.command).await?,
        Command::Resume(call) => guests::resume(&api(&call.client)?, &call.command).await?,
        Command::Delete(call) => guests::delete(&api(&call.client)?, &call.command).await?,
        Command::Token(command) => {
            let (client, command) = command.apart();
            access::tokens(&api(client)?, command, client.format).await?
        }
        Command::User(command) => {
            let (client, command) = command.apart();
            access::users(&api(client)?, command, client.format).await?
        }
        Command::Connect(call) => {
            // Boxed, since this future is by far the largest of all commands.
            Box::pin(connect::connect(&api(&call.client)?, &call.command)).await?;
            String::new()
        }
    };
    // A reader that closed the pipe (`… | head -1`) does not want the rest.
    let _ = std::io::stdout().lock().write_all(answer.as_bytes());
    Ok(())
}
