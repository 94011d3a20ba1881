//! One simulation under many parameters.

use simward_protocol::call::Serve;
use simward_protocol::fault::Fault;
use simward_protocol::modify::Change;
use simward_protocol::real::{Real, Reals};
use simward_protocol::rollout::Rollout;
use simward_protocol::sweep::{Parameter, Sweep, SweepResult, Swept};

use super::rollout::rollout_is_bounded;
use crate::world::World;
use crate::world::fields::{FIELDS, Spot, check_value, spots};
use crate::world::futures::Futures;
use crate::world::random::Random;
use crate::world::simulation::Simulation;

impl Serve<Sweep> for World {
    fn serve(&mut self, slot: u32, call: Sweep) -> Result<Swept, Fault> {
        let Sweep { model_id, parameters, draws, seed, steps, control, .. } = call;
        let combinations = combinations(&parameters, draws, seed)?;
        let sequence: Vec<Vec<f64>> = control.into_iter().collect();
        let rollout = Rollout {
            model_id,
            controls: vec![sequence; combinations.len()],
            steps,
            hold_steps: steps,
            outputs: call.outputs,
            samples: call.samples,
            threads: call.threads,
            budget_millis: call.budget_millis,
        };
        let (model_id, simulation) = self.model(slot, rollout.model_id.as_deref())?;
        let from_secs = Real(simulation.time_secs());
        rollout_is_bounded(&rollout)?;
        let mut futures = Futures::new(simulation, &rollout)?;
        vary(simulation, &mut futures, &parameters, &combinations)?;
        let steps_done = self.roll(slot, &model_id, &mut futures, &rollout)?;
        futures.look(&model_id, true);
        let results = combinations.into_iter().zip(futures.end());
        let results = results
            .map(|(values, outcome)| SweepResult { parameters: Reals(values), outcome })
            .collect();
        let is_cut_short = steps_done < rollout.steps;
        Ok(Swept { model_id, from_secs, steps_done, is_cut_short, results })
    }
}

/// Gives every simulation its own parameters.
fn vary(
    simulation: &mut Simulation,
    futures: &mut Futures,
    parameters: &[Parameter],
    combinations: &[Vec<f64>],
) -> Result<(), Fault> {
    let mut derives = false;
    for (index, parameter) in parameters.iter().enumerate() {
        let spot = spot_of(simulation, parameter)?;
        let field = &FIELDS[spot.field];
        derives |= field.derives;
        for combination in combinations {
            check_value(field, combination[index])?;
        }
        let values = combinations.iter().map(|combination| combination[index]);
        futures.vary(field, spot.begin, values)?;
    }
    if derives {
        futures.derive_constants();
    }
    Ok(())
}

/// The one value that a parameter is.
fn spot_of(simulation: &Simulation, parameter: &Parameter) -> Result<Spot, Fault> {
    let Parameter { field, name, component, .. } = parameter;
    let change = Change {
        field: field.clone(),
        name: name.clone(),
        component: *component,
        ..Change::default()
    };
    let mut found = spots(simulation.data.model(), &change)?;
    match (found.pop(), found.is_empty()) {
        (Some(spot), true) if spot.count == 1 => Ok(spot),
        _ => {
            let problem = "it has several values: name the `component` that varies".to_owned();
            Err(Fault::Invalid { field: field.clone(), problem })
        }
    }
}

/// Every combination of values, or as many as are to be drawn between their bounds.
fn combinations(
    parameters: &[Parameter],
    draws: Option<u32>,
    seed: u64,
) -> Result<Vec<Vec<f64>>, Fault> {
    let invalid = |problem: String| Fault::Invalid { field: "parameters".into(), problem };
    if !(1..=Sweep::PARAMETERS_MAX).contains(&parameters.len()) {
        return Err(invalid(format!("give 1 to {} of them", Sweep::PARAMETERS_MAX)));
    }
    let count = match draws {
        Some(draws) => draws as usize,
        None => parameters.iter().fold(1, |count, p| p.values.len().saturating_mul(count)),
    };
    if !(1..=Rollout::SEQUENCES_MAX).contains(&count) {
        let what = "combinations of one call".to_owned();
        let max = Rollout::SEQUENCES_MAX as u64;
        return Err(Fault::LimitExceeded { what, value: count as u64, max });
    }
    if draws.is_some() {
        return draw(parameters, count, seed).ok_or_else(|| {
            invalid("with `draws`, `values` must be two: the lower and the upper bound".into())
        });
    }
    Ok((0..count).map(|index| pick(parameters, index)).collect())
}

/// The combination of that number; the last parameter changes fastest.
fn pick(parameters: &[Parameter], mut index: usize) -> Vec<f64> {
    let mut combination: Vec<f64> = parameters
        .iter()
        .rev()
        .map(|parameter| {
            let value = parameter.values[index % parameter.values.len()];
            index /= parameter.values.len();
            value
        })
        .collect();
    combination.reverse();
    combination
}

fn draw(parameters: &[Parameter], count: usize, seed: u64) -> Option<Vec<Vec<f64>>> {
    let mut random = Random::new(seed);
    let mut combination = || {
        let bounds = parameters.iter().map(|parameter| match parameter.values[..] {
            [low, high] if low <= high => Some(random.between(low, high)),
            _ => None,
        });
        bounds.collect()
    };
    (0..count).map(|_| combination()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameter(values: &[f64]) -> Parameter {
        Parameter { field: "f".into(), name: None, component: None, values: values.to_vec() }
    }

    #[test]
    fn every_combination_comes_once() {
        let parameters = [parameter(&[1.0, 2.0]), parameter(&[3.0, 4.0, 5.0])];
        let all = combinations(&parameters, None, 0).unwrap();
        assert_eq!(all.len(), 6);
        assert_eq!((&all[0][..], &all[1][..]), (&[1.0, 3.0][..], &[1.0, 4.0][..]));
        assert_eq!(all[5], [2.0, 5.0]);
    }

    #[test]
    fn a_seed_draws_the_same_again() {
        let parameters = [parameter(&[1.0, 2.0]), parameter(&[-3.0, 5.0])];
        let one = combinations(&parameters, Some(50), 7).unwrap();
        assert_eq!(one, combinations(&parameters, Some(50), 7).unwrap());
        assert_ne!(one, combinations(&parameters, Some(50), 8).unwrap());
        assert!(one.iter().all(|c| (1.0..=2.0).contains(&c[0]) && (-3.0..=5.0).contains(&c[1])));
    }

    #[test]
    fn what_is_no_sweep_is_refused() {
        combinations(&[], None, 0).unwrap_err();
        combinations(&[parameter(&[])], None, 0).unwrap_err();
        combinations(&[parameter(&[1.0])], Some(3), 0).unwrap_err();
        combinations(&vec![parameter(&[0.0; 50]); 2], None, 0).unwrap_err();
    }
}
