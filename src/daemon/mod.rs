//! The life of the process: assemble, serve, drain.

mod descriptors;
mod drain;
mod inherited;
mod listeners;
mod relayed;
mod reload;
mod signals;
mod supervisor;
mod systemd;
mod watchdog;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::runtime;
use tokio::sync::mpsc;
use tokio::sync::watch;
use tokio::time::interval;
use tracing::error;
use tracing::info;

use crate::access::Access;
use crate::broker::Broker;
use crate::config::Config;
use crate::config::Sources;
use crate::failure::Failure;
use crate::http;
use crate::http::Stage;
use crate::http::Terms;
use crate::http::admin;
use crate::http::admin::Admin;
use crate::http::control;
use crate::http::control::Ask;
use crate::http::engine_io::Endpoint;
use crate::http::entrance::Entrance;
use crate::http::gate;
use crate::http::gate::Gate;
use crate::http::health::Health;
use crate::http::health::Phase;
use crate::http::live;
use crate::http::live::Live;
use crate::http::public;
use crate::http::tls::Credentials;
use crate::http::tls::Tls;
use crate::relay;
use crate::relay::Relay;
use crate::telemetry::log;
use crate::telemetry::log::Logger;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::metrics::Traffic;
use crate::wire::departures::Departures;
use crate::wire::links::Links;

use inherited::Sockets;
use listeners::Bound;
use listeners::Listeners;
use relayed::Relayed;
use reload::Reload;
use signals::Signal;
use signals::Signals;
use supervisor::Supervisor;

/// How often what histograms have collected is folded, and who was here is forgotten.
const UPKEEP: Duration = Duration::from_secs(5);
/// How long tasks may take to notice that the process ends.
const LAST_TASKS: Duration = Duration::from_secs(1);

/// Runs the daemon until a signal ends it.
///
/// # Errors
///
/// When it cannot start, or when a part of it ends by itself.
pub fn run(config: Config, sources: &Sources) -> Result<(), Failure> {
    let sockets = Sockets::take()?;
    let logger = log::start(&config.log)?;
    let mut builder = runtime::Builder::new_multi_thread();
    if let Some(workers) = config.server.workers() {
        builder.worker_threads(workers);
    }
    let runtime = builder
        .enable_all()
        .build()
        .map_err(|error| Failure::Unavailable(format!("cannot start the worker threads: {error}")))?;
    let ended = runtime
        .block_on(Daemon::start(config, sources, sockets, logger))
        .and_then(|daemon| runtime.block_on(daemon.run()));
    runtime.shutdown_timeout(LAST_TASKS);
    ended
}

/// Reads every file that the configuration names, as a start would.
///
/// # Errors
///
/// When one of them cannot be used.
pub fn check(config: &Config) -> Result<(), Failure> {
    config.server.tls.as_ref().map(Credentials::read).transpose()?;
    reload::operators(config)?;
    relay::check(&config.relay)?;
    Access::read(config.access.as_ref(), None, None).map(drop)
}

/// A daemon that serves.
struct Daemon {
    metrics: Metrics,
    signals: Signals,
    reload: Reload,
    relay: Option<Relay>,
    bound: Bound,
    /// Those who wait for a reload.
    asks: mpsc::Receiver<Ask>,
    supervisor: Supervisor,
    phase: watch::Sender<Phase>,
    /// How far the listener for clients has come.
    clients: watch::Sender<Stage>,
    /// Whether the socket for clients outlives this process.
    outlived: bool,
    /// How far the listeners for operators have come, those that there are.
    operators: watch::Sender<Stage>,
}

impl Daemon {
    /// Everything that may fail, in an order that leaves nothing half started.
    async fn start(
        config: Config,
        sources: &Sources,
        sockets: Sockets,
        logger: Logger,
    ) -> Result<Self, Failure> {
        info!(version = env!("CARGO_PKG_VERSION"), "starting with {}", sources);
        let signals = Signals::register()?;
        let gate = Gate::public(&config.limits, descriptors::connections(config.limits.connections)?);
        let metrics = Metrics::install()?;
        let links = Links::new(&config.limits, config.socketio.parser, metrics.connections.clone());
        let credentials = config.server.tls.as_ref().map(Credentials::read).transpose()?;
        let access = access(&config, credentials.as_ref())?;
        let relayed = Relayed::new(&config, &metrics)?;
        let (relay, required) = (relayed.relay.clone(), relayed.required());
        let (broker, engine) = Broker::new(
            &config.socketio,
            &config.limits,
            access.clone(),
            links.clone(),
            relay.clone(),
            metrics.events.clone(),
        );

        let tls = credentials.map(Tls::new);
        let Listeners { public, admin, control, outlived, bound } =
            Listeners::bind(&config.server, &config.admin, sockets).await?;

        let mut supervisor = Supervisor::default();
        relayed.begin(&broker, &mut supervisor).await?;
        let phase = watch::Sender::new(Phase::Serving);
        let health = Health::new(phase.subscribe(), gate.clone(), required);
        let live = Live::new(&config.server, &config.limits, reload::operators(&config)?);
        let live: live::Current = Arc::new(ArcSwap::from_pointee(live));
        let endpoint = Endpoint {
            engine: engine.clone(),
            links: links.clone(),
            health: health.clone(),
            gate: gate.clone(),
            live: live.clone(),
            transports: config.socketio.transports.clone(),
            engine_io_3: config.socketio.engine_io_3,
            max_payload: config.limits.max_payload.bytes(),
            upgrade_timeout: config.socketio.upgrade_timeout.get(),
        };
        let mut routes = public::routes(config.server.path.as_str(), endpoint);
        let for_operators = admin::routes(
            Admin { health, metrics: metrics.clone(), links: links.clone(), live: live.clone() },
            config.admin.metrics,
        );
        let terms = terms(live.clone(), metrics.traffic.clone(), &mut supervisor);
        let [clients, operators] = [Stage::Open; 2].map(watch::Sender::new);
        match admin {
            Some(listener) => {
                let routes = public::counted(for_operators, metrics.requests.clone());
                let stage = operators.subscribe();
                supervisor.spawn(
                    "admin listener",
                    http::serve(listener, routes, Gate::operators(gate::OPERATORS), terms.clone(), stage),
                );
            }
            None => routes = routes.merge(for_operators),
        }
        let (control_routes, asks) = control::routes();
        if let Some(listener) = control {
            let gate = Gate::operators(gate::CONTROLLERS);
            supervisor.spawn(
                "control listener",
                http::serve(listener, control_routes, gate, terms.clone(), operators.subscribe()),
            );
        }
        let routes = public::counted(routes, metrics.requests.clone());
        let terms = Terms { entrance: Entrance::for_clients(&config.server, tls.clone()), ..terms };
        let stage = clients.subscribe();
        supervisor.spawn("public listener", http::serve(public, routes, gate.clone(), terms, stage));
        supervisor.spawn("patrol", links.clone().patrol(move |link| engine.bury(link)));
        supervisor.spawn("expiry", broker.clone().expire());
        let keys = watch::Sender::new(access.jwks().cloned());
        let known = broker.clone();
        let changed = move || {
            let _ = known.identify_all();
        };
        supervisor.spawn("keys", http::keys::keep(keys.subscribe(), changed));
        supervisor.spawn("upkeep", upkeep(metrics.clone(), gate.clone()));
        let with = if tls.is_some() { "with" } else { "without" };
        info!("serving clients on {} {with} TLS, operators on {}", bound.public, bound.admin);
        systemd::ready(&bound);
        let mut sources = sources.clone();
        sources.hold();
        let reloads = metrics.reloads.clone();
        let reload =
            Reload { sources, config, broker, access, keys, links, gate, live, tls, logger, reloads };
        Ok(Self {
            metrics,
            signals,
            reload,
            relay,
            bound,
            asks,
            supervisor,
            phase,
            clients,
            outlived,
            operators,
        })
    }

    /// Serves until it is over, and shows the watchdog all the while that it does.
    async fn run(self) -> Result<(), Failure> {
        let beat = watchdog::beat(self.reload.broker.clone(), self.reload.links.clone());
        tokio::select! {
            ended = self.serve() => ended,
            never = beat => match never {},
        }
    }

    async fn serve(mut self) -> Result<(), Failure> {
        let ended = loop {
            tokio::select! {
                signal = self.signals.next() => match signal {
                    Signal::Reload => drop(self.reload()),
                    signal => {
                        info!("{signal}: shutting down");
                        break Ok(());
                    }
                },
                Some(ask) = self.asks.recv() => {
                    let outcome = self.reload().map_err(|failure| failure.to_string());
                    // Whoever has asked may have gone.
                    let _ = ask.send(outcome);
                }
                task = self.supervisor.ended() => {
                    error!("the {task} ended by itself: shutting down");
                    break Err(Failure::Internal(format!("the {task} ended by itself")));
                }
            }
        };
        self.drain().await;
        ended
    }

    fn reload(&mut self) -> Result<String, Failure> {
        systemd::reloading();
        let outcome = self.reload.run();
        systemd::reloaded(&self.bound);
        outcome
    }
}

/// Who may do what; that nobody has said so is said once.
fn access(config: &Config, credentials: Option<&Credentials>) -> Result<Arc<Access>, Failure> {
    let access = Access::read(config.access.as_ref(), credentials.and_then(Credentials::authorities), None)?;
    if !access.has_rules() {
        info!("there is no [access]: whoever reaches the broker may do everything");
    }
    Ok(Arc::new(access))
}

/// What holds for every connection, and has those whose peers have gone hear of it.
fn terms(live: live::Current, traffic: Traffic, supervisor: &mut Supervisor) -> Terms {
    let (departures, departing) = Departures::new();
    supervisor.spawn("departures", departing.see_off());
    Terms { entrance: Entrance::default(), live, traffic, departures }
}

async fn upkeep(metrics: Metrics, gate: Gate) {
    let mut ticks = interval(UPKEEP);
    loop {
        ticks.tick().await;
        metrics.upkeep();
        gate.upkeep();
    }
}
