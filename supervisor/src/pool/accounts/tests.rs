//! Memory that is given out, and shares that change.

use proptest::prelude::*;

use super::*;

const MIB: u64 = 1 << 20;

/// An account where there are no control groups.
fn account(memory_bytes: u64) -> Arc<Account> {
    let allowance = TenantAllowance { memory_bytes, cpu_ratio: 2.0, step_rate: 0.0 };
    Accounts::new(Groups::none("not here"), allowance).of(&Tenant::local())
}

fn memory(bytes: u64) -> Limits {
    Limits { memory_bytes: Some(bytes), ..Limits::default() }
}

#[test]
fn memory_is_given_out_until_there_is_none_and_comes_back() {
    let account = account(100 * MIB);
    let one = account.admit(&memory(60 * MIB)).unwrap();
    let full = account.admit(&memory(50 * MIB)).unwrap_err();
    let (claimed_bytes, wanted_bytes) = (60 * MIB, 50 * MIB);
    assert_eq!(full, Full { claimed_bytes, wanted_bytes, max_bytes: 100 * MIB });
    assert!(full.hint().contains("41943040 bytes are left"), "{}", full.hint());
    let other = account.admit(&memory(40 * MIB)).unwrap();
    assert_eq!(account.memory_bytes(), 100 * MIB);
    drop(one);
    assert_eq!(account.memory_bytes(), 40 * MIB);
    drop(other);
    assert_eq!(account.memory_bytes(), 0);
}

#[test]
fn who_has_no_limit_may_take_all_and_so_is_alone() {
    let account = account(100 * MIB);
    let alone = account.admit(&Limits::default()).unwrap();
    assert_eq!(alone.within(&Limits::default()).memory_bytes, Some(100 * MIB));
    account.admit(&memory(32 * MIB)).unwrap_err();
    // It asks for less, and others have what it leaves.
    alone.claim(&memory(68 * MIB)).unwrap();
    let _other = account.admit(&memory(32 * MIB)).unwrap();
    alone.claim(&memory(69 * MIB)).unwrap_err();
    assert_eq!(account.memory_bytes(), 100 * MIB);
}

#[test]
fn nobody_may_have_more_than_the_tenant() {
    let account = account(100 * MIB);
    let member = account.admit(&memory(u64::MAX)).unwrap();
    let asked = Limits { cpu_ratio: Some(8.0), tasks_max: Some(3), ..memory(u64::MAX) };
    let within = member.within(&asked);
    assert_eq!((within.memory_bytes, within.cpu_ratio), (Some(100 * MIB), Some(2.0)));
    assert_eq!(within.tasks_max, Some(3));
}

#[test]
fn who_is_awake_hears_of_others_and_not_of_itself() {
    let account = account(0);
    let first = account.wake();
    assert!(!first.shares().has_changed().unwrap());
    let second = account.wake();
    assert!(first.shares().has_changed().unwrap());
    assert!(!second.shares().has_changed().unwrap());
    assert_eq!(account.awake(), 2);
    drop(first);
    assert!(second.shares().has_changed().unwrap());
    assert_eq!(account.awake(), 1);
}

#[test]
fn where_nothing_is_shared_out_nobody_is_told() {
    let accounts = Accounts::new(Groups::none("not here"), TenantAllowance::default());
    let account = accounts.of(&Tenant::local());
    let (first, _second) = (account.wake(), account.wake());
    assert!(!first.shares().has_changed().unwrap());
    assert_eq!(account.awake(), 2);
}

#[test]
fn an_account_goes_with_the_last_who_has_it() {
    let accounts = Accounts::new(Groups::none("not here"), TenantAllowance::default());
    let (ann, bob) = (Tenant::named("ann"), Tenant::named("bob"));
    let account = accounts.of(&ann);
    assert!(Arc::ptr_eq(&account, &accounts.of(&ann)));
    assert!(accounts.find(&bob).is_none());
    drop(account);
    assert!(accounts.find(&ann).is_none());
    let _bobs = accounts.of(&bob);
    assert_eq!(accounts.table.lock().unwrap().len(), 1);
}

proptest! {
    /// Whatever is claimed, changed and given back, the sum is what there is, and never too much.
    #[test]
    fn the_sum_of_claims_is_never_too_much(
        steps in prop::collection::vec((0_usize..6, prop::option::of(1_u64..200)), 1..60),
    ) {
        let account = account(300 * MIB);
        let mut members: Vec<Option<Member>> = (0..6).map(|_| None).collect();
        for (who, wanted) in steps {
            match (wanted, &members[who]) {
                (None, _) => members[who] = None,
                (Some(mib), Some(member)) => drop(member.claim(&memory(mib * MIB))),
                (Some(mib), None) => members[who] = account.admit(&memory(mib * MIB)).ok(),
            }
            let claims = members.iter().flatten().map(|member| *member.claim_bytes());
            let sum: u64 = claims.sum();
            prop_assert_eq!(account.memory_bytes(), sum);
            prop_assert!(sum <= 300 * MIB);
        }
    }
}
