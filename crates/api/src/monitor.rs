//! What a process tells those who watch over it: its health and its metrics.

use std::fmt;
use std::sync::Arc;
use std::sync::Mutex;

use axum::Json;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header;
use axum::response::IntoResponse;
use axum::response::Response;
use axum::routing::get;
use serde_json::json;
use serialproxy_proto::health::Health;
use serialproxy_proto::health::ReasonName;
use serialproxy_proto::health::Status;

use crate::fault::Fault;

/// The health of a process, and its metrics. Cheap to clone; all clones are the same one.
#[derive(Clone)]
pub struct Monitor {
    health: Health,
    /// Brings those metrics up to date that are not counted as things happen.
    sample: Arc<Mutex<dyn FnMut() + Send>>,
}

impl Monitor {
    /// `sample` is called before the metrics are read. It must not wait.
    pub fn new(health: Health, sample: impl FnMut() + Send + 'static) -> Self {
        Self { health, sample: Arc::new(Mutex::new(sample)) }
    }

    pub(crate) fn health(&self) -> Response {
        let (status, reasons) = (self.health.status(), self.health.reasons());
        let code = match status {
            Status::Ok | Status::Degraded => StatusCode::OK,
            Status::Failing => StatusCode::SERVICE_UNAVAILABLE,
        };
        (code, Json(json!({"status": status, "reasons": reasons}))).into_response()
    }

    pub(crate) fn metrics(&self) -> Response {
        // While another caller samples, everything is as good as up to date.
        if let Ok(mut sample) = self.sample.try_lock() {
            sample();
        }
        let reasons = self.health.reasons();
        for name in ReasonName::ALL {
            let is_wrong = reasons.iter().any(|reason| reason.name == *name);
            serialproxy_metrics::UNHEALTHY.of(*name).set(f64::from(u8::from(is_wrong)));
        }
        let media_type = [(header::CONTENT_TYPE, serialproxy_metrics::MEDIA_TYPE)];
        (media_type, serialproxy_metrics::text()).into_response()
    }
}

impl Default for Monitor {
    fn default() -> Self {
        Self::new(Health::default(), || {})
    }
}

impl fmt::Debug for Monitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Monitor").field("health", &self.health).finish_non_exhaustive()
    }
}

/// What `[api] metrics_listen` answers, to everyone.
pub fn monitor_router(monitor: Monitor) -> Router {
    Router::new()
        .route("/healthz", get(async |State(monitor): State<Monitor>| monitor.health()))
        .route("/metrics", get(async |State(monitor): State<Monitor>| monitor.metrics()))
        .fallback(async || Fault::no_such_call())
        .method_not_allowed_fallback(async || Fault::Method)
        .with_state(monitor)
}
