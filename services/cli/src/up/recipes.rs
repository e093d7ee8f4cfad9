//! How each child of a local system is started.

use crate::{
    home::{Access, Home},
    up::{
        child::{Recipe, Stage},
        health::Probe,
        ports::Ports,
        programs,
    },
};
use anyhow::{Context, Result};
use cedm_contract::Service;
use std::{collections::BTreeMap, ffi::OsString, fs, path::Path, time::Duration};

const NATS_CONF: &str = include_str!("../../../../deploy/local/nats.conf");
const PROMETHEUS_CONF: &str = include_str!("../../../../deploy/local/prometheus.yml");

/// Workers write a checkpoint when they are stopped; this is how long the largest may take.
const DRAIN: Duration = Duration::from_secs(60);
/// Broker and store only close files.
const CLOSE: Duration = Duration::from_secs(10);

fn words(list: &[&str]) -> Vec<OsString> {
    list.iter().map(OsString::from).collect()
}

/// A program that cannot watch its stdin, started through [`crate::up::guard`].
fn guarded(program: &Path, arguments: Vec<OsString>) -> Result<Vec<OsString>> {
    let mut all = words(&["guard", "--parent", &std::process::id().to_string(), "--"]);
    all.push(program.as_os_str().to_owned());
    all.extend(arguments);
    Ok(all)
}

fn this_program() -> Result<std::path::PathBuf> {
    std::env::current_exe().context("find this program's own path")
}

/// nats-server.
///
/// # Errors
/// When it is not installed or its configuration cannot be written.
pub fn nats(home: &Home, access: &Access) -> Result<(Recipe, Probe)> {
    let server = programs::nats_server()?;
    let conf = home.nats().join("nats.conf");
    fs::write(&conf, NATS_CONF).with_context(|| format!("write {}", conf.display()))?;
    let (port, monitor) = (access.nats_port.to_string(), access.nats_monitor_port.to_string());
    let mut arguments = words(&["--addr", "127.0.0.1", "--port", &port, "--http_port", &monitor, "--config"]);
    arguments.extend([conf.into_os_string(), "--store_dir".into(), home.nats().into_os_string()]);
    let address = format!("127.0.0.1:{monitor}");
    let recipe = Recipe {
        name: "nats".to_owned(),
        program: this_program()?,
        arguments: guarded(&server, arguments)?,
        environment: access.environment(),
        metrics: None,
        stops_at: Stage::Ground,
        grace: CLOSE,
    };
    Ok((recipe, Probe { name: "nats".to_owned(), address, path: "/healthz?js-enabled-only=true", any_status: false }))
}

/// The embedded store.
///
/// # Errors
/// When its program was not built.
pub fn store(home: &Home, access: &Access) -> Result<(Recipe, Probe)> {
    let address = format!("127.0.0.1:{}", access.s3_port);
    let mut arguments = words(&["serve", "--listen", &address, "--exit-with-parent", "--root"]);
    arguments.push(home.objects().into_os_string());
    let recipe = Recipe {
        name: "store".to_owned(),
        program: programs::ours("cedm-store")?,
        arguments,
        environment: access.environment(),
        metrics: None,
        stops_at: Stage::Ground,
        grace: CLOSE,
    };
    Ok((recipe, Probe { name: "store".to_owned(), address, path: "/", any_status: true }))
}

/// The coordinator and as many of every worker as asked for.
///
/// # Errors
/// When a program was not built or no port is free.
pub fn services(home: &Home, access: &Access, workers: &BTreeMap<Service, u32>, ports: &mut Ports, last: &[crate::home::Child]) -> Result<Vec<(Recipe, Probe)>> {
    let mut environment = access.environment();
    environment.push(("CEDM_CACHE_DIR".to_owned(), home.path().join("cache").to_string_lossy().into_owned()));
    let mut all = Vec::new();
    for service in Service::RUNNING {
        for number in 1..=workers.get(service).copied().unwrap_or(1) {
            let name = format!("{service}-{number}");
            let before = last.iter().find(|child| child.name == name).and_then(|child| child.metrics.as_deref());
            let port = ports.free(before.and_then(|address| address.rsplit(':').next()?.parse().ok()))?;
            let address = format!("127.0.0.1:{port}");
            let recipe = Recipe {
                name: name.clone(),
                program: programs::ours(&format!("cedm-{service}"))?,
                arguments: words(&["serve", "--exit-with-parent", "--listen", &address]),
                environment: environment.clone(),
                metrics: Some(address.clone()),
                stops_at: Stage::Services,
                grace: DRAIN,
            };
            all.push((recipe, Probe { name, address, path: "/readyz", any_status: false }));
        }
    }
    Ok(all)
}

/// Prometheus with every service as a target.
///
/// # Errors
/// When it is not installed or its files cannot be written.
pub fn prometheus(home: &Home, port: u16, targets: &[(Recipe, Probe)]) -> Result<(Recipe, Probe)> {
    let program = programs::prometheus()?;
    let folder = home.path().join("prometheus");
    let write = || -> std::io::Result<()> {
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("prometheus.yml"), PROMETHEUS_CONF)?;
        let groups: Vec<serde_json::Value> = targets
            .iter()
            .filter_map(|(recipe, _)| recipe.metrics.as_ref().map(|address| serde_json::json!({"targets": [address], "labels": {"child": recipe.name}})))
            .collect();
        fs::write(folder.join("targets.json"), serde_json::to_vec_pretty(&groups)?)
    };
    write().with_context(|| format!("write the configuration of Prometheus to {}", folder.display()))?;
    let address = format!("127.0.0.1:{port}");
    let mut arguments = words(&["--web.listen-address", &address, "--config.file"]);
    arguments.extend([folder.join("prometheus.yml").into_os_string(), "--storage.tsdb.path".into(), folder.join("data").into_os_string()]);
    let recipe = Recipe {
        name: "prometheus".to_owned(),
        program: this_program()?,
        arguments: guarded(&program, arguments)?,
        environment: Vec::new(),
        metrics: None,
        stops_at: Stage::Ground,
        grace: CLOSE,
    };
    Ok((recipe, Probe { name: "prometheus".to_owned(), address, path: "/-/ready", any_status: false }))
}
