//! Linear algebra on small dense matrices, on top of nalgebra. It knows nothing of MuJoCo.

use nalgebra::{DMatrix, DVector, Schur};
use simward_protocol::analysis::{Conditioning, Stability};
use simward_protocol::real::{Real, Reals};

/// Below this share of the largest, a singular value counts as 0.
const RANK_TOLERANCE: f64 = 1e-10;

/// How many iterations a decomposition may take.
const ITERATIONS_MAX: usize = 10_000;

/// How far from 1 a spectral radius is told from 1: more than finite differences get wrong.
const MARGIN: f64 = 1e-6;

/// How well a matrix can be inverted. The matrix must be finite.
pub(crate) fn conditioning(matrix: DMatrix<f64>) -> Conditioning {
    let mut values = singular_values(matrix);
    values.sort_by(|left, right| right.total_cmp(left));
    let largest = values.first().copied().unwrap_or(0.0);
    let rank = values.iter().filter(|value| largest * RANK_TOLERANCE < **value).count();
    let full = rank == values.len() && rank != 0;
    let smallest = values.last().copied().unwrap_or(0.0);
    let condition = if full { largest / smallest } else { f64::INFINITY };
    let manipulability = if values.is_empty() { 0.0 } else { values.iter().product() };
    Conditioning {
        singular_values: Reals(values),
        rank: u32::try_from(rank).unwrap_or(u32::MAX),
        condition_number: Real(condition),
        manipulability: Real(manipulability),
    }
}

fn singular_values(matrix: DMatrix<f64>) -> Vec<f64> {
    if matrix.is_empty() {
        return Vec::new();
    }
    let svd = matrix.try_svd(false, false, f64::EPSILON, ITERATIONS_MAX);
    svd.map_or_else(Vec::new, |svd| svd.singular_values.iter().copied().collect())
}

/// One matrix above another of as many columns.
pub(crate) fn stacked(above: &DMatrix<f64>, below: &DMatrix<f64>) -> DMatrix<f64> {
    let mut whole = DMatrix::zeros(above.nrows() + below.nrows(), above.ncols());
    whole.rows_mut(0, above.nrows()).copy_from(above);
    whole.rows_mut(above.nrows(), below.nrows()).copy_from(below);
    whole
}

/// The damped least-squares solution of `matrix x = wanted`: `x = Jᵀ (J Jᵀ + λ² I)⁻¹ e`. The damping
/// `λ²` must be positive.
pub(crate) fn damped_least_squares(
    matrix: &DMatrix<f64>,
    wanted: &DVector<f64>,
    damping: f64,
) -> Option<DVector<f64>> {
    let rows = matrix.nrows();
    let square = matrix * matrix.transpose() + DMatrix::identity(rows, rows) * damping;
    Some(matrix.transpose() * square.cholesky()?.solve(wanted))
}

/// The part of a vector that a matrix maps to nothing.
pub(crate) fn in_null_space(matrix: &DMatrix<f64>, vector: &DVector<f64>) -> Option<DVector<f64>> {
    let svd = matrix.clone().try_svd(false, true, f64::EPSILON, ITERATIONS_MAX)?;
    let rows = svd.v_t?;
    let largest = svd.singular_values.amax();
    let mut rest = vector.clone();
    for (row, value) in rows.row_iter().zip(svd.singular_values.iter()) {
        if largest * RANK_TOLERANCE < *value {
            let seen = row.transpose();
            rest -= &seen * seen.dot(vector);
        }
    }
    Some(rest)
}

/// The eigenvalues of a square matrix, those of largest magnitude first; none if they are not
/// found.
pub(crate) fn eigenvalues(matrix: DMatrix<f64>) -> Option<Vec<(f64, f64)>> {
    if matrix.is_empty() || !matrix.iter().all(|value| value.is_finite()) {
        return None;
    }
    let schur = Schur::try_new(matrix, f64::EPSILON, ITERATIONS_MAX)?;
    let mut values: Vec<_> =
        schur.complex_eigenvalues().iter().map(|value| (value.re, value.im)).collect();
    values.sort_by(|left, right| magnitude(right).total_cmp(&magnitude(left)));
    Some(values)
}

/// The magnitude of a complex number.
pub(crate) fn magnitude(&(re, im): &(f64, f64)) -> f64 {
    re.hypot(im)
}

/// What a spectral radius says of small deviations, step by step.
pub(crate) fn stability(spectral_radius: Option<f64>) -> Stability {
    match spectral_radius {
        Some(radius) if radius < 1.0 - MARGIN => Stability::Stable,
        Some(radius) if radius <= 1.0 + MARGIN => Stability::Marginal,
        Some(_) => Stability::Unstable,
        None => Stability::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_diagonal_matrix_is_conditioned_as_its_diagonal() {
        let matrix = DMatrix::from_diagonal(&DVector::from_vec(vec![2.0, 8.0, 4.0]));
        let found = conditioning(matrix);
        assert_eq!(found.singular_values, Reals(vec![8.0, 4.0, 2.0]));
        assert_eq!((found.rank, found.condition_number), (3, Real(4.0)));
        assert!((found.manipulability.0 - 64.0).abs() < 1e-12);
    }

    #[test]
    fn what_has_no_inverse_is_conditioned_infinitely_badly() {
        let matrix = DMatrix::from_row_slice(2, 2, &[1.0, 2.0, 2.0, 4.0]);
        let found = conditioning(matrix);
        assert_eq!((found.rank, found.condition_number.0), (1, f64::INFINITY));
        assert_eq!(conditioning(DMatrix::zeros(3, 0)).rank, 0);
    }

    #[test]
    fn a_rotation_has_its_eigenvalues_on_the_unit_circle() {
        let (sin, cos) = 0.3_f64.sin_cos();
        let values = eigenvalues(DMatrix::from_row_slice(2, 2, &[cos, -sin, sin, cos])).unwrap();
        assert!(values.iter().all(|value| (magnitude(value) - 1.0).abs() < 1e-12));
        assert_eq!(stability(Some(magnitude(&values[0]))), Stability::Marginal);
        assert_eq!(eigenvalues(DMatrix::from_element(1, 1, f64::NAN)), None);
    }

    proptest! {
        #[test]
        fn with_hardly_any_damping_a_solution_is_exact(
            entries in prop::collection::vec(-1.0..1.0_f64, 12),
            wanted in prop::collection::vec(-1.0..1.0_f64, 3),
        ) {
            let matrix = DMatrix::from_row_slice(3, 4, &entries);
            prop_assume!(1e-2 < conditioning(matrix.clone()).singular_values.0[2]);
            let wanted = DVector::from_vec(wanted);
            let found = damped_least_squares(&matrix, &wanted, 1e-14).unwrap();
            prop_assert!((&matrix * found - wanted).norm() < 1e-6);
        }

        #[test]
        fn what_lies_in_the_null_space_moves_nothing(
            entries in prop::collection::vec(-1.0..1.0_f64, 12),
            vector in prop::collection::vec(-1.0..1.0_f64, 4),
        ) {
            let matrix = DMatrix::from_row_slice(3, 4, &entries);
            prop_assume!(1e-2 < conditioning(matrix.clone()).singular_values.0[2]);
            let vector = DVector::from_vec(vector);
            let found = in_null_space(&matrix, &vector).unwrap();
            prop_assert!((&matrix * &found).norm() < 1e-9);
            prop_assert!((&found - in_null_space(&matrix, &found).unwrap()).norm() < 1e-9);
        }
    }
}
