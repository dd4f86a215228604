//! The app that the demo deploys, from `examples/`: Python's standard library where instances can have it, else a static site.

use crate::{
    error::{Error, Result},
    git::Checkout,
};
use std::path::{Path, PathBuf};

const PYTHON: [(&str, &str); 2] = [
    ("app.py", include_str!("../../../../examples/hello-python/app.py")),
    ("Procfile", include_str!("../../../../examples/hello-python/Procfile")),
];
const STATIC: &str = include_str!("../../../../examples/hello-static/index.html");

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Python,
    Static,
}

impl Kind {
    /// The one of this name; for `auto` Python, if it is where instances find it.
    pub(super) fn of(name: &str) -> Self {
        match name {
            "python" => return Self::Python,
            "static" => return Self::Static,
            _ => {}
        }
        let there =
            ["/usr/bin/python3", "/usr/local/bin/python3"].iter().any(|path| Path::new(path).exists());
        if there { Self::Python } else { Self::Static }
    }

    /// For people.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Python => "a Python app (standard library only)",
            Self::Static => "a static site",
        }
    }
}

/// The checkout of the app.
pub(super) struct App {
    pub(super) kind: Kind,
    pub(super) checkout: Checkout,
    directory: PathBuf,
}

impl App {
    /// An empty repository in this directory.
    pub(super) fn init(kind: Kind, directory: PathBuf) -> Result<Self> {
        std::fs::create_dir_all(&directory)
            .map_err(|e| Error::because(format!("{} cannot be made", directory.display()), e))?;
        let checkout = Checkout::at(&directory);
        checkout.git(&["init", "--quiet", "--initial-branch=main"])?;
        for (name, value) in
            [("user.name", "Ada Example"), ("user.email", "ada@example.org"), ("commit.gpgsign", "false")]
        {
            checkout.git(&["config", name, value])?;
        }
        Ok(Self { kind, checkout, directory })
    }

    /// Commits a version, broken if asked; its hash.
    pub(super) fn commit(&self, version: &str, broken: bool, message: &str) -> Result<String> {
        match self.kind {
            Kind::Python => {
                for (name, text) in PYTHON {
                    self.write(name, text)?;
                }
                self.write("version", &format!("{version}{}\n", if broken { " broken" } else { "" }))?;
            }
            Kind::Static if broken => {
                // A static site without its page has nothing to serve: the build says so.
                self.checkout.git(&["rm", "--quiet", "index.html"])?;
                self.write("README", "The page is gone.\n")?;
            }
            Kind::Static => self.write(
                "index.html",
                &STATIC.replace("data-version=\"v1\"", &format!("data-version=\"{version}\"")),
            )?,
        }
        self.checkout.git(&["add", "--all"])?;
        self.checkout.git(&["commit", "--quiet", "--message", message])?;
        self.checkout.head()
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.directory.join(name);
        std::fs::write(&path, text)
            .map_err(|e| Error::because(format!("{} cannot be written", path.display()), e))
    }
}
