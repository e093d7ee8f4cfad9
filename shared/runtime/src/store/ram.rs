//! A store in memory that fails on demand: the double for protocol simulations.

use super::{Body, Created, Listed, Store, StoreError, StoreErrorKind};
use bytes::Bytes;
use cedm_contract::Digest;
use std::{
    collections::BTreeMap,
    ops::Range,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// What becomes of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InjectedFault {
    /// No fault: the request succeeds.
    None,
    /// It fails and had no effect.
    Before,
    /// It has its effect, and the answer is lost.
    After,
}

type Plan = Box<dyn FnMut(&'static str, &str) -> InjectedFault + Send>;

/// Objects in a map; the plan is asked for a fault before every request (operation, key).
pub struct RamStore {
    objects: Mutex<BTreeMap<String, Bytes>>,
    plan: Mutex<Plan>,
    ignores_if_none_match: bool,
}

impl Default for RamStore {
    fn default() -> Self {
        Self::with_faults(|_, _| InjectedFault::None)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl RamStore {
    /// A store whose requests fail as `plan` says.
    pub fn with_faults(
        plan: impl FnMut(&'static str, &str) -> InjectedFault + Send + 'static,
    ) -> Self {
        Self {
            objects: Mutex::default(),
            plan: Mutex::new(Box::new(plan)),
            ignores_if_none_match: false,
        }
    }

    /// The same store with the flaw that the protocol cannot bear: a create-only put overwrites.
    pub fn that_ignores_if_none_match(self) -> Self {
        Self {
            ignores_if_none_match: true,
            ..self
        }
    }

    /// From now on every request works.
    pub fn heal(&self) {
        *lock(&self.plan) = Box::new(|_, _| InjectedFault::None);
    }

    /// Removes an object, or (where it `stays`) replaces its bytes by others of the same length:
    /// what disks and people do.
    pub fn corrupt(&self, key: &str, stays: bool) {
        let mut objects = lock(&self.objects);
        if let Some(bytes) = objects.remove(key)
            && stays
        {
            objects.insert(key.to_owned(), vec![b'?'; bytes.len()].into());
        }
    }

    /// All objects below a prefix, without faults: for checks that run often.
    pub fn below(&self, prefix: &str) -> Vec<(String, Bytes)> {
        let objects = lock(&self.objects);
        let found = objects
            .range(prefix.to_owned()..)
            .take_while(|(key, _)| key.starts_with(prefix));
        found
            .map(|(key, bytes)| (key.clone(), bytes.clone()))
            .collect()
    }

    /// Everything in it, for checkers of invariants.
    pub fn snapshot(&self) -> BTreeMap<String, Bytes> {
        lock(&self.objects).clone()
    }

    /// Runs `effect` as the plan says; the flag tells whether the answer is lost.
    fn request<T>(
        &self,
        op: &'static str,
        key: &str,
        effect: impl FnOnce(&mut BTreeMap<String, Bytes>) -> T,
    ) -> (Option<T>, InjectedFault) {
        let fault = (lock(&self.plan))(op, key);
        match fault {
            InjectedFault::Before => (None, fault),
            InjectedFault::None | InjectedFault::After => {
                (Some(effect(&mut lock(&self.objects))), fault)
            }
        }
    }

    fn answer<T>(
        &self,
        op: &'static str,
        key: &str,
        effect: impl FnOnce(&mut BTreeMap<String, Bytes>) -> T,
    ) -> Result<T, StoreError> {
        match self.request(op, key, effect) {
            (Some(value), InjectedFault::None) => Ok(value),
            _ => Err(StoreError::new(
                op,
                key,
                StoreErrorKind::Unavailable,
                "injected fault",
            )),
        }
    }
}

#[async_trait::async_trait]
impl Store for RamStore {
    async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        self.answer("get", key, |objects| objects.get(key).cloned())
    }
    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Option<Bytes>, StoreError> {
        self.answer("get", key, |objects| {
            objects.get(key).map(|bytes| {
                let end = range.end.min(bytes.len() as u64) as usize;
                bytes.slice((range.start as usize).min(end)..end)
            })
        })
    }
    async fn download(&self, key: &str, file: &Path) -> Result<Option<(u64, Digest)>, StoreError> {
        let Some(bytes) = self.get(key).await? else {
            return Ok(None);
        };
        std::fs::write(file, &bytes).map_err(|error| StoreError::local("get", key, error))?;
        Ok(Some((bytes.len() as u64, Digest::of(&bytes))))
    }
    async fn size(&self, key: &str) -> Result<Option<u64>, StoreError> {
        self.answer("head", key, |objects| {
            objects.get(key).map(|bytes| bytes.len() as u64)
        })
    }
    async fn put(&self, key: &str, body: Body<'_>) -> Result<(), StoreError> {
        let bytes = match body {
            Body::Bytes(bytes) => bytes,
            Body::File(path) => std::fs::read(path)
                .map_err(|error| StoreError::local("put", key, error))?
                .into(),
        };
        self.answer("put", key, |objects| {
            objects.insert(key.to_owned(), bytes);
        })
    }
    async fn put_if_absent(&self, key: &str, bytes: Bytes) -> Result<Created, StoreError> {
        let (created, fault) = self.request("create", key, |objects| {
            if objects.contains_key(key) && !self.ignores_if_none_match {
                return Created::Exists;
            }
            objects.insert(key.to_owned(), bytes);
            Created::Yes
        });
        match (created, fault) {
            (Some(created), InjectedFault::None) => Ok(created),
            _ => Ok(Created::Unknown("injected fault".to_owned())),
        }
    }
    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.answer("delete", key, |objects| {
            objects.remove(key);
        })
    }
    async fn list(&self, prefix: &str) -> Result<Vec<Listed>, StoreError> {
        self.answer("list", prefix, |objects| {
            let below = objects
                .range(prefix.to_owned()..)
                .take_while(|(key, _)| key.starts_with(prefix));
            below
                .map(|(key, bytes)| Listed {
                    key: key.clone(),
                    size: bytes.len() as u64,
                    modified_ms: 1, // it keeps no times: everything is as old as can be
                })
                .collect()
        })
    }
}
