//! What a package is made of. `make test-package` and `make test-systemd` install one for real; here
//! is what can be seen without.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output};

use simward_tests::models::root;
use simward_tests::programs;
use tempfile::TempDir;

/// What a command prints; it has to succeed.
fn said(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{command:?}: {stdout}{stderr}");
    stdout.into_owned()
}

/// Packages are made on Debian and Ubuntu only.
fn is_debian() -> bool {
    Path::new("/usr/bin/dpkg").exists()
}

/// A package of programs that stand in for ours, which were built for this folder; the manual is the
/// one of this build.
fn package(folder: &Path) -> std::path::PathBuf {
    let built = folder.join("built");
    fs::create_dir(&built).unwrap();
    for program in ["simward", "simward-worker", "simward-renderer", "simward-profiler"] {
        symlink("/bin/true", built.join(program)).unwrap();
    }
    said(
        Command::new(root().join("scripts/deb"))
            .args([built.as_os_str(), folder.as_os_str(), OsStr::new("9.8.7")])
            .env("SIMWARD", programs!().supervisor)
            .env("DPKG_DEB_COMPRESSOR_TYPE", "none")
            .env("SOURCE_DATE_EPOCH", "1800000000"),
    );
    let made = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    made.into_iter().find(|path| path.extension() == Some(OsStr::new("deb"))).unwrap()
}

#[test]
fn the_package_has_all_that_a_service_and_its_operator_need() {
    if !is_debian() {
        return;
    }
    let folder = TempDir::new().unwrap();
    let package = package(folder.path());
    let about = said(Command::new("dpkg-deb").arg("--field").arg(&package));
    for line in ["Package: simward", "Version: 9.8.7", "Depends: libc6"] {
        assert!(about.lines().any(|it| it.starts_with(line)), "{line}: {about}");
    }
    let inside = said(Command::new("dpkg-deb").arg("--contents").arg(&package));
    for file in [
        "-rwxr-xr-x root/root /usr/bin/simward",
        "-rwxr-xr-x root/root /usr/bin/simward-worker",
        "-rw-r--r-- root/root /etc/simward/simward.toml",
        "-rw-r--r-- root/root /usr/lib/systemd/system/simward.service",
        "-rw-r--r-- root/root /usr/lib/systemd/system/simward.socket",
        "-rw-r--r-- root/root /usr/lib/sysusers.d/simward.conf",
        "-rw-r--r-- root/root /usr/share/bash-completion/completions/simward",
        "-rw-r--r-- root/root /usr/share/doc/simward/changelog.gz",
        "-rw-r--r-- root/root /usr/share/doc/simward/copyright",
        "-rw-r--r-- root/root /usr/share/doc/simward/examples/privileged.conf",
        "-rw-r--r-- root/root /usr/share/doc/simward/examples/profiling.conf",
        "-rw-r--r-- root/root /usr/share/man/man1/simward-serve.1.gz",
    ] {
        let (mode, path) = file.split_once(" /").unwrap();
        let path = format!("./{path}");
        let is_it = |line: &str| line.starts_with(mode) && line.split(' ').any(|it| it == path);
        assert!(inside.lines().any(is_it), "{file}: {inside}");
    }
    let unpacked = folder.path().join("unpacked");
    said(Command::new("dpkg-deb").arg("--raw-extract").args([&package, &unpacked]));
    let config = fs::read_to_string(unpacked.join("etc/simward/simward.toml")).unwrap();
    assert!(config.contains("\nmode = \"tokens\"\n"), "whoever reaches it may call");
    assert!(config.contains("\ntokens_file = \"/etc/simward/tokens.toml\"\n"));
    let config = unpacked.join("etc/simward/simward.toml");
    said(Command::new(programs!().supervisor).args(["config", "print", "--config"]).arg(config));
}

/// What the shell itself finds wrong without running it.
#[test]
fn scripts_are_written_as_their_shell_reads_them() {
    for folder in ["scripts", "deploy/debian"] {
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let text = fs::read_to_string(&path).unwrap();
            let shell = match text.lines().next() {
                Some("#!/bin/sh") => "sh",
                Some("#!/usr/bin/env bash") => "bash",
                _ => continue,
            };
            said(Command::new(shell).arg("-n").arg(&path));
        }
    }
}
