//! How much there may be, and of whose. Of rules and of alerts a part is kept for the operators, so that
//! no tenant leaves them without; the last of it is for what is critical.

use std::collections::BTreeMap;

use super::Labels;
use crate::alerts::error::BookError;
use crate::alerts::rule::{Owner, Rule, Severity};

/// How much there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_field_names, reason = "limits end so everywhere")]
pub struct Bounds {
    /// Rules in all, those of the configuration left out.
    pub rules_max: usize,
    /// Rules of one tenant.
    pub rules_per_tenant_max: usize,
    /// Alerts that are pending or fire, of all rules.
    pub active_max: usize,
    /// Those of one tenant's rules, and as many of the operators' rules about what is one tenant's.
    pub active_per_tenant_max: usize,
    /// Alerts that are over, of one owner's rules.
    pub history_per_owner_max: usize,
}

/// The part of rules and alerts that is the operators'.
const OPERATORS_PART: usize = 4;

/// The part of alerts that is for critical ones of the operators'.
const CRITICAL_PART: usize = 16;

fn without(max: usize, part: usize) -> usize {
    max - max.div_ceil(part)
}

impl Bounds {
    /// Whether an owner who has so many rules may have another one.
    pub(super) fn has_room_for_rule(
        &self,
        owner: &Owner,
        own: usize,
        tenants: usize,
        all: usize,
    ) -> Result<(), BookError> {
        let tenants_max = without(self.rules_max, OPERATORS_PART);
        let checks = [
            (self.rules_per_tenant_max, own, "of one tenant"),
            (tenants_max, tenants, "of tenants"),
            (self.rules_max, all, "in all"),
        ];
        let skipped = if *owner == Owner::Fleet { 2 } else { 0 };
        match checks.into_iter().skip(skipped).find(|(max, there, _)| max <= there) {
            Some((max, _, whose)) => Err(BookError::Full { max, whose }),
            None => Ok(()),
        }
    }
}

/// How many alerts there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// By whose rule has found them and, of the operators', whose they are about.
    of: BTreeMap<(Owner, Option<String>), usize>,
    /// Those of tenants' rules.
    tenants: usize,
    all: usize,
}

fn whose(owner: &Owner, labels: &Labels) -> (Owner, Option<String>) {
    let about = match owner {
        Owner::Fleet => labels.get("tenant").cloned(),
        Owner::Tenant(_) => None,
    };
    (owner.clone(), about)
}

impl Counts {
    pub(super) fn add(&mut self, owner: &Owner, labels: &Labels) {
        *self.of.entry(whose(owner, labels)).or_default() += 1;
        self.tenants += usize::from(*owner != Owner::Fleet);
        self.all += 1;
    }

    pub(super) fn take_away(&mut self, owner: &Owner, labels: &Labels) {
        let whose = whose(owner, labels);
        let Some(count) = self.of.get_mut(&whose) else { return };
        *count -= 1;
        if *count == 0 {
            self.of.remove(&whose);
        }
        self.tenants -= usize::from(*owner != Owner::Fleet);
        self.all -= 1;
    }

    /// Whether a rule may find another one.
    pub(super) fn has_room(&self, bounds: &Bounds, rule: &Rule, labels: &Labels) -> bool {
        let Bounds { active_max, active_per_tenant_max, .. } = *bounds;
        let whose = whose(&rule.owner, labels);
        let own = self.of.get(&whose).copied().unwrap_or_default();
        let all_max = without(active_max, CRITICAL_PART);
        match (whose, rule.severity) {
            ((Owner::Fleet, _), Severity::Critical) => self.all < active_max,
            ((Owner::Fleet, None), _) => self.all < all_max,
            ((Owner::Fleet, Some(_)), _) => self.all < all_max && own < active_per_tenant_max,
            ((Owner::Tenant(_), _), _) => {
                let tenants_max = without(active_max, OPERATORS_PART);
                self.all < all_max && self.tenants < tenants_max && own < active_per_tenant_max
            }
        }
    }

    #[cfg(test)]
    pub(super) fn all(&self) -> usize {
        self.all
    }
}
