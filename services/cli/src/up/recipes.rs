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
use cedm_runtime::deploy::{NatsSettings, render_nats, render_prometheus};
use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    io::Write,
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    time::Duration,
};

/// Workers write a checkpoint when they are stopped; this is how long the largest may take.
const DRAIN: Duration = Duration::from_secs(60);
/// Broker and store only close files.
const CLOSE: Duration = Duration::from_secs(10);

/// Often enough for jobs that take seconds.
const SCRAPE_EVERY_S: u64 = 5;

fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// A file for its owner alone: it holds passwords.
fn private_file(path: &Path, text: &str) -> Result<()> {
    let open = fs::OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(path);
    open.and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("write {}", path.display()))
}

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
    let (listen, monitor) = (
        loopback(access.nats_port),
        loopback(access.nats_monitor_port),
    );
    let settings = NatsSettings {
        listen,
        monitor: Some(monitor),
        store_dir: &home.nats(),
        credentials: &access.credentials,
    };
    private_file(&conf, &render_nats(&settings))?;
    let address = monitor.to_string();
    let arguments = vec!["--config".into(), conf.into_os_string()];
    let recipe = Recipe {
        name: "nats".to_owned(),
        program: this_program()?,
        arguments: guarded(&server, arguments)?,
        environment: Vec::new(),
        metrics: None,
        stops_at: Stage::Ground,
        grace: CLOSE,
    };
    Ok((
        recipe,
        Probe {
            name: "nats".to_owned(),
            address,
            path: Some("/healthz?js-enabled-only=true"),
        },
    ))
}

/// The embedded store.
///
/// # Errors
/// When its program was not built.
pub fn store(home: &Home, access: &Access) -> Result<(Recipe, Probe)> {
    let address = format!("127.0.0.1:{}", access.s3_port);
    let mut arguments = words(&[
        "serve",
        "--listen",
        &address,
        "--exit-with-parent",
        "--root",
    ]);
    arguments.push(home.objects().into_os_string());
    let recipe = Recipe {
        name: "store".to_owned(),
        program: programs::ours("cedm-store")?,
        arguments,
        environment: access.environment(Service::Cli),
        metrics: None,
        stops_at: Stage::Ground,
        grace: CLOSE,
    };
    Ok((
        recipe,
        Probe {
            name: "store".to_owned(),
            address,
            path: None,
        },
    ))
}

/// The coordinator and as many of every worker as asked for.
///
/// # Errors
/// When a program was not built or no port is free.
pub fn services(
    home: &Home,
    access: &Access,
    workers: &BTreeMap<Service, u32>,
    ports: &mut Ports,
    last: &[crate::home::Child],
) -> Result<Vec<(Recipe, Probe)>> {
    let mut all = Vec::new();
    for service in Service::RUNNING {
        for number in 1..=workers.get(service).copied().unwrap_or(1) {
            let name = format!("{service}-{number}");
            let before = last
                .iter()
                .find(|child| child.name == name)
                .and_then(|child| child.metrics.as_deref());
            let port =
                ports.free(before.and_then(|address| address.rsplit(':').next()?.parse().ok()))?;
            let address = format!("127.0.0.1:{port}");
            let mut environment = access.environment(*service);
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
            let recipe = Recipe {
                name: name.clone(),
                program: programs::ours(&format!("cedm-{service}"))?,
                arguments: words(&["serve", "--exit-with-parent", "--listen", &address]),
                environment,
                metrics: Some(address.clone()),
                stops_at: Stage::Services,
                grace: DRAIN,
            };
            all.push((
                recipe,
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
pub fn prometheus(home: &Home, port: u16, targets: &[(Recipe, Probe)]) -> Result<(Recipe, Probe)> {
    let program = programs::prometheus()?;
    let folder = home.path().join("prometheus");
    let write = || -> std::io::Result<()> {
        fs::create_dir_all(&folder)?;
        fs::write(
            folder.join("prometheus.yml"),
            render_prometheus(&folder.join("targets.json"), &[], SCRAPE_EVERY_S),
        )?;
        let groups: Vec<serde_json::Value> = targets
            .iter()
            .filter_map(|(recipe, _)| {
                recipe
                    .metrics
                    .as_ref()
                    .map(|address| serde_json::json!({"targets": [address], "labels": {"child": recipe.name}}))
            })
            .collect();
        fs::write(
            folder.join("targets.json"),
            serde_json::to_vec_pretty(&groups)?,
        )
    };
    write().with_context(|| {
        format!(
            "write the configuration of Prometheus to {}",
            folder.display()
        )
    })?;
    let address = format!("127.0.0.1:{port}");
    let mut arguments = words(&["--web.listen-address", &address, "--config.file"]);
    arguments.extend([
        folder.join("prometheus.yml").into_os_string(),
        "--storage.tsdb.path".into(),
        folder.join("data").into_os_string(),
    ]);
    let recipe = Recipe {
        name: "prometheus".to_owned(),
        program: this_program()?,
        arguments: guarded(&program, arguments)?,
        environment: Vec::new(),
        metrics: None,
        stops_at: Stage::Ground,
        grace: CLOSE,
    };
    Ok((
        recipe,
        Probe {
            name: "prometheus".to_owned(),
            address,
            path: Some("/-/ready"),
        },
    ))
}
