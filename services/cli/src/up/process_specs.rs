//! How each child of a local system is started: program, arguments, environment and readiness.

use crate::{
    home::Home,
    up::{
        DEAD_AFTER, SERVICES_READY_TIMEOUT, UpRequest,
        endpoints::Endpoints,
        health::Probe,
        liveness::Liveness,
        ports::Ports,
        programs,
        supervise::{ProcessSpec, ShutdownStage},
    },
};
use anyhow::{Context, Result};
use cedm_contract::{Names, Service};
use cedm_runtime::deploy::{
    NatsSettings, PROMETHEUS_RULES, render_nats, render_prometheus, render_store_policy,
};
use std::{
    ffi::OsString,
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

/// Grace period of services: workers write a checkpoint when they are stopped, and the largest
/// takes this long.
const SERVICE_GRACE: Duration = Duration::from_secs(60);
/// Grace period of broker and store, which only close files.
const INFRASTRUCTURE_GRACE: Duration = Duration::from_secs(10);

/// Often enough to see jobs that take seconds.
const SCRAPE_EVERY_S: u64 = 5;

fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// Writes a file that only its owner can read: it holds passwords.
fn write_private(path: &Path, text: &str) -> Result<()> {
    cedm_atomic_file::write_private(path, text.as_bytes())
        .with_context(|| format!("write {}", path.display()))
}

/// A child that every service needs: its program with arguments, its address, and the path there
/// that tells when it is ready.
fn infrastructure(
    name: &str,
    (program, arguments): (PathBuf, Vec<OsString>),
    address: String,
    path: Option<&'static str>,
) -> (ProcessSpec, Probe) {
    let spec = ProcessSpec {
        name: name.to_owned(),
        program,
        arguments,
        environment: Vec::new(),
        metrics: None,
        liveness: None,
        stops_at: ShutdownStage::StopInfrastructure,
        grace: INFRASTRUCTURE_GRACE,
    };
    let name = name.to_owned();
    (
        spec,
        Probe {
            name,
            address,
            path,
        },
    )
}

fn os_strings(list: &[&str]) -> Vec<OsString> {
    list.iter().map(OsString::from).collect()
}

/// Arguments of this program that start another one through [`crate::up::guard`], for programs that
/// do not watch their stdin.
fn guard_arguments(program: &Path, arguments: Vec<OsString>) -> Result<Vec<OsString>> {
    let mut all = os_strings(&["guard", "--parent", &std::process::id().to_string(), "--"]);
    all.push(program.as_os_str().to_owned());
    all.extend(arguments);
    Ok(all)
}

fn this_program() -> Result<std::path::PathBuf> {
    std::env::current_exe().context("find this program's own path")
}

/// nats-server with JetStream.
///
/// # Errors
/// When it is not installed or its configuration cannot be written.
pub fn nats(home: &Home, endpoints: &Endpoints) -> Result<(ProcessSpec, Probe)> {
    let server = programs::nats_server()?;
    let conf = home.nats().join("nats.conf");
    let (listen, monitor) = (
        loopback(endpoints.nats_port),
        loopback(endpoints.nats_monitor_port),
    );
    let settings = NatsSettings {
        listen,
        monitor: Some(monitor),
        store_dir: &home.nats(),
        credentials: &endpoints.credentials,
        names: &Names::default(),
    };
    write_private(&conf, &render_nats(&settings))?;
    let address = monitor.to_string();
    let arguments = vec!["--config".into(), conf.into_os_string()];
    let command = (this_program()?, guard_arguments(&server, arguments)?);
    Ok(infrastructure(
        "nats",
        command,
        address,
        Some("/healthz?js-enabled-only=true"),
    ))
}

/// The embedded object store, `cedm-store`.
///
/// # Errors
/// When its program was not built, or its policy cannot be written.
pub fn store(home: &Home, endpoints: &Endpoints) -> Result<(ProcessSpec, Probe)> {
    let address = format!("127.0.0.1:{}", endpoints.s3_port);
    let mut arguments = os_strings(&[
        "serve",
        "--listen",
        &address,
        "--exit-with-parent",
        "--root",
    ]);
    arguments.push(home.objects().into_os_string());
    let policy = home.path().join("store-policy.json");
    write_private(&policy, &render_store_policy(&endpoints.credentials))?;
    arguments.extend([
        "--policy".into(),
        policy.into_os_string(),
        "--bucket".into(),
        endpoints.bucket.clone().into(),
    ]);
    let command = (programs::own("cedm-store")?, arguments);
    Ok(infrastructure("store", command, address, None))
}

/// The coordinator and the requested number of processes of every other service.
///
/// # Errors
/// When a program was not built or no port is free.
pub fn services(
    home: &Home,
    endpoints: &Endpoints,
    request: &UpRequest,
    ports: &mut Ports,
    previous: &[crate::home::Child],
) -> Result<Vec<(ProcessSpec, Probe)>> {
    let workers = &request.workers;
    let mut all = Vec::new();
    for service in Service::RUNNING {
        for number in 1..=workers.get(service).copied().unwrap_or(1) {
            let name = format!("{service}-{number}");
            let last_address = previous
                .iter()
                .find(|child| child.name == name)
                .and_then(|child| child.metrics.as_deref());
            let port = ports
                .free(last_address.and_then(|address| address.rsplit(':').next()?.parse().ok()))?;
            let address = format!("127.0.0.1:{port}");
            let mut environment = endpoints.environment(*service);
            environment.push(("CEDM_LOG_FORMAT".to_owned(), "json".to_owned()));
            // Several workers share these cores, and libtorch's threads spin while they wait for
            // each other: with two threads each, a trainer beside busy neighbours is thirty times
            // slower than with one.
            for (name, value) in [("CEDM_THREADS", "1"), ("GOMP_SPINCOUNT", "0")] {
                if std::env::var_os(name).is_none() {
                    environment.push((name.to_owned(), value.to_owned()));
                }
            }
            environment.push((
                "CEDM_CACHE_DIR".to_owned(),
                home.path().join("cache").to_string_lossy().into_owned(),
            ));
            let spec = ProcessSpec {
                name: name.clone(),
                program: programs::own(&format!("cedm-{service}"))?,
                arguments: os_strings(&["serve", "--exit-with-parent", "--listen", &address]),
                environment,
                metrics: Some(address.clone()),
                liveness: Some(Liveness {
                    address: address.clone(),
                    start: SERVICES_READY_TIMEOUT,
                    silence: request.dead_after.unwrap_or(DEAD_AFTER),
                }),
                stops_at: ShutdownStage::StopServices,
                grace: SERVICE_GRACE,
            };
            all.push((
                spec,
                Probe {
                    name,
                    address,
                    path: Some("/readyz"),
                },
            ));
        }
    }
    Ok(all)
}

/// Prometheus with every service as a target.
///
/// # Errors
/// When it is not installed or its files cannot be written.
pub fn prometheus(
    home: &Home,
    port: u16,
    targets: &[(ProcessSpec, Probe)],
) -> Result<(ProcessSpec, Probe)> {
    let program = programs::prometheus()?;
    let folder = home.path().join("prometheus");
    let write = || -> std::io::Result<()> {
        fs::create_dir_all(&folder)?;
        let (targets_file, rules) = (folder.join("targets.json"), folder.join("rules.yml"));
        fs::write(&rules, PROMETHEUS_RULES)?;
        fs::write(
            folder.join("prometheus.yml"),
            render_prometheus(&targets_file, &[&rules], SCRAPE_EVERY_S),
        )?;
        let groups: Vec<serde_json::Value> = targets
            .iter()
            .filter_map(|(spec, _)| {
                spec
                    .metrics
                    .as_ref()
                    .map(|address| serde_json::json!({"targets": [address], "labels": {"child": spec.name}}))
            })
            .collect();
        fs::write(targets_file, serde_json::to_vec_pretty(&groups)?)
    };
    write().with_context(|| {
        format!(
            "write the configuration of Prometheus to {}",
            folder.display()
        )
    })?;
    let address = format!("127.0.0.1:{port}");
    let mut arguments = os_strings(&["--web.listen-address", &address, "--config.file"]);
    arguments.extend([
        folder.join("prometheus.yml").into_os_string(),
        "--storage.tsdb.path".into(),
        folder.join("data").into_os_string(),
    ]);
    let command = (this_program()?, guard_arguments(&program, arguments)?);
    Ok(infrastructure(
        "prometheus",
        command,
        address,
        Some("/-/ready"),
    ))
}
