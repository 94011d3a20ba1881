//! A terminal with a shell in it, that nobody sits at: tmux.

use std::process::Command;

use tempfile::TempDir;

use crate::wait::wait_for;

/// A terminal. Whatever runs in it ends with it.
#[derive(Debug)]
pub struct Terminal {
    folder: TempDir,
}

impl Terminal {
    /// Opens one of that size, with these variables beside the usual ones.
    ///
    /// # Panics
    ///
    /// Panics if there is no tmux: `make setup-tests` installs it, or says how to.
    pub fn open((width, height): (u16, u16), variables: &[(&str, &str)]) -> Self {
        let terminal = Self { folder: TempDir::new().unwrap() };
        let (width, height) = (width.to_string(), height.to_string());
        let mut args = vec!["new-session", "-d", "-x", &width, "-y", &height];
        let variables: Vec<_> =
            variables.iter().map(|(key, value)| format!("{key}={value}")).collect();
        for variable in &variables {
            args.extend(["-e", variable]);
        }
        args.push("env PS1='$ ' sh");
        terminal.tmux(&args);
        terminal.wait_for("the shell", |screen| screen.contains('$'));
        terminal
    }

    /// Types a line, and the key that ends it.
    pub fn enter(&self, line: &str) {
        self.tmux(&["send-keys", "-l", line]);
        self.press(&["Enter"]);
    }

    /// Presses keys, by the names that tmux has for them.
    pub fn press(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }

    /// Makes it another size.
    pub fn resize(&self, (width, height): (u16, u16)) {
        let (width, height) = (width.to_string(), height.to_string());
        self.tmux(&["resize-window", "-x", &width, "-y", &height]);
    }

    /// What is seen.
    pub fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    /// What is seen, with what says of which colour and weight it is.
    pub fn styled_screen(&self) -> String {
        self.tmux(&["capture-pane", "-p", "-e"])
    }

    /// Waits until what is seen is so, and tells what is.
    ///
    /// # Panics
    ///
    /// Panics if that does not happen in time, with what is seen instead.
    pub fn wait_for(&self, what: &str, is_so: impl Fn(&str) -> bool) -> String {
        let begun = std::time::Instant::now();
        wait_for(what, || {
            let screen = self.screen();
            let is_late = crate::wait::DEADLINE * 9 / 10 < begun.elapsed();
            assert!(!is_late || is_so(&screen), "{what} is not to be seen:\n{screen}");
            is_so(&screen).then_some(screen)
        })
    }

    /// One of the things that tmux knows of it, such as `alternate_on`.
    pub fn fact(&self, name: &str) -> String {
        self.tmux(&["display-message", "-p", &format!("#{{{name}}}")]).trim().to_owned()
    }

    fn tmux(&self, args: &[&str]) -> String {
        let output = Command::new("tmux")
            .args(["-u", "-f", "/dev/null", "-S"])
            .arg(self.folder.path().join("socket"))
            .args(args)
            .env_remove("TMUX")
            .output()
            .expect("tmux is missing: run `make setup-tests`");
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // What runs in it is told to hang up.
        Command::new("tmux")
            .arg("-S")
            .arg(self.folder.path().join("socket"))
            .arg("kill-server")
            .output()
            .ok();
    }
}
