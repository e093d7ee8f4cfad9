//! Puts the graph of a sweep together node by node, each after what it reads.

use crate::{
    Cell, Graph, ObservedState, Work,
    graph::{Index, Recipe, StoredNode},
    message,
};
use cedm_contract::{
    EncodedSpec, Inputs, Job, JobKey, JobKind, JobSpec, Kind, Manifest, kinds::train::TrainParams,
};
use cedm_sweep::Sweep;
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

/// A node that another one reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dependency(Index);

/// A node to be added: what it is called, where it belongs and how much work it is.
pub(crate) struct NodeDraft {
    id: String,
    cell: Option<Cell>,
    space: Option<String>,
    work: Work,
}

impl NodeDraft {
    pub(crate) fn new(id: impl Into<String>, work: Work) -> Self {
        Self {
            id: id.into(),
            cell: None,
            space: None,
            work,
        }
    }
    /// Coordinates in the sweep.
    pub(crate) fn cell(mut self, cell: &Cell) -> Self {
        self.cell = Some(cell.clone());
        self
    }
    /// Name of the evaluation feature space.
    pub(crate) fn space(mut self, space: &str) -> Self {
        self.space = Some(space.to_owned());
        self
    }
}

/// A graph that nodes are added to.
pub(crate) struct PlanBuilder<'k> {
    pub(crate) sweep: &'k Sweep,
    observed: &'k dyn ObservedState,
    graph: Graph,
    by_id: HashMap<Arc<str>, Index>,
    shared: Shared,
    /// References of the unconditional network, by evaluation space, seed of the training and
    /// number of the sample set, as far as they were asked for.
    pub(crate) unconditional: HashMap<(String, (u64, u32)), Option<Dependency>>,
}

impl<'k> PlanBuilder<'k> {
    pub(crate) fn new(sweep: &'k Sweep, observed: &'k dyn ObservedState) -> Self {
        Self {
            sweep,
            observed,
            graph: Graph::empty(sweep),
            by_id: HashMap::new(),
            shared: Shared::default(),
            unconditional: HashMap::new(),
        }
    }

    pub(crate) fn finish(self) -> Graph {
        self.graph.linked()
    }

    /// The node with this id, if it was added before.
    pub(crate) fn existing(&self, id: &str) -> Option<Dependency> {
        self.by_id.get(id).copied().map(Dependency)
    }

    /// The manifest of a node, once it is done. What is added must not depend on it, unless the
    /// node is of a kind whose results shape the graph ([`crate::graph::shapes_the_graph`]).
    pub(crate) fn manifest(&self, of: Dependency) -> Option<&'k Manifest> {
        self.observed.manifest(self.graph.done_key(of.0)?)
    }

    /// Adds a job of kind `K` (once per id). An error in its parameters makes the node dead, once
    /// everything that it reads is done.
    pub(crate) fn add<K: JobKind>(
        &mut self,
        draft: NodeDraft,
        inputs: K::Inputs<Dependency>,
        params: impl FnOnce() -> Result<K, String>,
    ) -> Dependency {
        self.add_recipe::<K>(draft, inputs, || Recipe::of(params()))
    }

    /// Adds a training job, whose network is as wide as its condition has clusters in use.
    pub(crate) fn add_training(
        &mut self,
        draft: NodeDraft,
        inputs: <TrainParams as JobKind>::Inputs<Dependency>,
        params: impl FnOnce() -> Result<TrainParams, String>,
    ) -> Dependency {
        let condition = inputs.condition;
        self.add_recipe::<TrainParams>(draft, inputs, || match (Recipe::of(params()), condition) {
            (Recipe::Spec(spec), Some(condition)) => Recipe::Conditioned {
                spec,
                condition: condition.0,
            },
            (recipe, _) => recipe,
        })
    }

    fn add_recipe<K: JobKind>(
        &mut self,
        draft: NodeDraft,
        inputs: K::Inputs<Dependency>,
        recipe: impl FnOnce() -> Recipe,
    ) -> Dependency {
        if let Some(dependency) = self.existing(&draft.id) {
            return dependency;
        }
        let roles = inputs.into_roles();
        let least_bytes = if K::IS_QUEUED {
            message::least_bytes(&roles)
        } else {
            0
        };
        let (roles, inputs): (Vec<String>, Vec<Index>) = roles
            .into_iter()
            .map(|(role, dependency)| (role, dependency.0))
            .unzip();
        let recipe = recipe();
        self.push(draft, K::KIND, (roles, inputs), recipe, least_bytes)
    }

    /// Adds a node that no service can perform, with the reason.
    pub(crate) fn add_dead(&mut self, draft: NodeDraft, kind: Kind, reason: String) -> Dependency {
        if let Some(dependency) = self.existing(&draft.id) {
            return dependency;
        }
        let recipe = Recipe::Impossible(reason.into());
        self.push(draft, kind, Default::default(), recipe, 0)
    }

    /// Adds an import: its key was given at submission.
    pub(crate) fn add_import(&mut self, id: String, key: &JobKey, missing: String) -> Dependency {
        let recipe = Recipe::Import {
            key: Box::new(key.clone()),
            missing: missing.into(),
        };
        let draft = NodeDraft::new(id, Work::one());
        self.push(draft, Kind::Import, Default::default(), recipe, 0)
    }

    /// Adds the report, which reads every result.
    pub(crate) fn add_report(&mut self) {
        self.graph.has_report = true;
    }

    /// The job that is called `label`.
    pub(crate) fn job(&self, label: &str, spec: JobSpec, inputs: Vec<cedm_contract::Input>) -> Job {
        Job::new(
            spec,
            inputs,
            self.sweep.spec.priority,
            self.graph.hints(label),
        )
    }

    fn push(
        &mut self,
        draft: NodeDraft,
        kind: Kind,
        (roles, inputs): (Vec<String>, Vec<Index>),
        recipe: Recipe,
        least_bytes: usize,
    ) -> Dependency {
        let id: Arc<str> = draft.id.into();
        let node = StoredNode::new(
            (id.clone(), kind, draft.work),
            draft.cell.map(|cell| self.shared.cell(cell)),
            draft.space.map(|space| self.shared.space(space)),
            (self.shared.roles(roles), inputs),
            (recipe, least_bytes),
        );
        let index = self.graph.push(node, self.observed);
        self.by_id.insert(id, index);
        Dependency(index)
    }
}

impl Recipe {
    fn of<K: JobKind>(params: Result<K, String>) -> Self {
        match params {
            Ok(params) => Recipe::Spec(EncodedSpec::of(&params.into())),
            Err(reason) => Recipe::Impossible(reason.into()),
        }
    }
}

/// What many nodes have in common, kept once.
#[derive(Default)]
struct Shared {
    cell: Option<Arc<Cell>>,
    spaces: HashSet<Arc<str>>,
    roles: HashMap<Vec<String>, Arc<[Box<str>]>>,
}

impl Shared {
    /// Nodes of one cell are added one after the other.
    fn cell(&mut self, cell: Cell) -> Arc<Cell> {
        match &self.cell {
            Some(last) if **last == cell => last.clone(),
            _ => {
                let cell = Arc::new(cell);
                self.cell = Some(cell.clone());
                cell
            }
        }
    }

    fn space(&mut self, space: String) -> Arc<str> {
        if let Some(known) = self.spaces.get(space.as_str()) {
            return known.clone();
        }
        let space: Arc<str> = space.into();
        self.spaces.insert(space.clone());
        space
    }

    fn roles(&mut self, roles: Vec<String>) -> Arc<[Box<str>]> {
        if let Some(known) = self.roles.get(&roles) {
            return known.clone();
        }
        let shared: Arc<[Box<str>]> = roles.iter().map(|role| role.as_str().into()).collect();
        self.roles.insert(roles, shared.clone());
        shared
    }
}
