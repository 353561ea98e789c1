//! A real image registry beside an engine, with small images to deploy.
//!
//! It listens on the loopback of the engine's network namespace: engines trust a registry there without TLS, the images go
//! nowhere else, and each engine can have one at the same address.

use super::engine::Engine;
use super::process::output_of;
use super::run::run;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Mutex;

/// Where the registry listens, as image names start.
const ADDRESS: &str = "127.0.0.1:5000";
const PORT: u16 = 5000;

/// A registry with its images.
pub struct Registry {
    process: Mutex<Child>,
    /// Serves its version at port 8080, as `/version`; three versions, oldest first.
    pub web: [Image; 3],
    /// Does nothing until it is asked to stop; two versions, oldest first.
    pub worker: [Image; 2],
}

/// One image in the registry. It is not in the engine until something pulls it.
pub struct Image {
    /// Registry and repository.
    pub name: String,
    /// The version, as tag.
    pub tag: String,
    /// The manifest's digest, `sha256:…`; it differs from run to run.
    pub digest: String,
}

impl Image {
    /// `name:tag`
    pub fn by_tag(&self) -> String {
        format!("{}:{}", self.name, self.tag)
    }

    /// `name@sha256:…`
    pub fn by_digest(&self) -> String {
        format!("{}@{}", self.name, self.digest)
    }
}

/// What process 1 of every test image runs besides its work: as process 1 a shell ignores SIGTERM unless it says otherwise,
/// and stopping would then always take the whole grace period.
const WEB: &str = r#"trap "exit 0" TERM; httpd -f -p 8080 -h /www & wait"#;
const WORKER: &str = r#"trap "exit 0" TERM; sleep 86400 & wait"#;

impl Registry {
    pub(super) fn start(engine: &Engine) -> Self {
        let directory = engine.directory().join("registry");
        std::fs::create_dir_all(&directory).expect("make the registry's directory");
        let configuration = format!(
            "version: 0.1\nlog:\n  level: info\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: {ADDRESS}\n",
            directory.join("data").display()
        );
        std::fs::write(directory.join("config.yml"), configuration).expect("write the registry's configuration");
        let process = Mutex::new(serve(engine));
        let root = image_root(&directory);
        let push = |name: &str, tag: &str, script: &str| push_image(engine, &root, name, tag, script);
        Self {
            process,
            web: ["1.0.0", "1.1.0", "2.0.0"].map(|tag| push("web", tag, WEB)),
            worker: ["1.0.0", "1.1.0"].map(|tag| push("worker", tag, WORKER)),
        }
    }

    /// Makes the registry unreachable: pulls fail from now on.
    pub fn stop(&self) {
        let mut process = self.process.lock().expect("no test panics while it holds the registry");
        process.kill().expect("kill the registry");
        process.wait().expect("reap the registry");
    }

    /// Makes the registry reachable again, with the same images.
    pub fn resume(&self, engine: &Engine) {
        *self.process.lock().expect("no test panics while it holds the registry") = serve(engine);
    }
}

/// What a file is filled with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filling {
    /// What cannot be compressed.
    Noise,
    /// What compresses to nothing.
    Zeros,
}

impl Registry {
    /// Makes an image with one layer of so many megabytes. It cannot run.
    pub fn push_filled(&self, engine: &Engine, name: &str, megabytes: u32, filling: Filling) -> Image {
        let directory = engine.directory().join(format!("filled-{name}"));
        std::fs::create_dir_all(&directory).expect("make a directory");
        let source = match filling {
            Filling::Noise => "if=/dev/urandom",
            Filling::Zeros => "if=/dev/zero",
        };
        let file = format!("of={}", directory.join("file").display());
        output_of(run().command("dd").args([source, &file, "bs=1M", &format!("count={megabytes}")]))
            .expect("fill a file");
        let image = push_root(engine, &directory, name, "1", &[]);
        std::fs::remove_dir_all(&directory).expect("remove the directory");
        image
    }

    /// Writes an archive of an image in the layout of the OCI, as `skopeo copy docker://… oci-archive:…` does, without its index:
    /// straight from where the registry keeps its parts.
    pub fn write_archive(&self, engine: &Engine, image: &Image, to: &Path) {
        let blobs = engine.directory().join("registry/data/docker/registry/v2/blobs/sha256");
        let layout = engine.directory().join(format!("layout-{}", image.digest.replace(':', "-")));
        let parts = layout.join("blobs/sha256");
        std::fs::create_dir_all(&parts).expect("make a layout");
        let copy = |digest: &str| {
            let hex = digest.trim_start_matches("sha256:");
            let blob = blobs.join(&hex[..2]).join(hex).join("data");
            std::fs::copy(blob, parts.join(hex)).expect("copy a part");
        };
        copy(&image.digest);
        let manifest =
            std::fs::read(parts.join(image.digest.trim_start_matches("sha256:"))).expect("read the manifest");
        let manifest: serde_json::Value = serde_json::from_slice(&manifest).expect("a manifest");
        copy(manifest["config"]["digest"].as_str().expect("a configuration"));
        for layer in manifest["layers"].as_array().expect("layers") {
            copy(layer["digest"].as_str().expect("a digest"));
        }
        output_of(run().command("tar").arg("-C").arg(&layout).arg("-cf").arg(to).arg("blobs"))
            .expect("pack the layout");
    }
}

/// A registry with the same images that shows them only to one person.
pub struct Guarded {
    /// Where it listens.
    pub port: u16,
    /// Name and password, in the form in which `docker login` writes them.
    pub auth: &'static str,
    process: Child,
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // The run's guard ends it if this does not.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Registry {
    /// Starts a second registry on the same images, for one test.
    pub fn with_password(&self, engine: &Engine) -> Guarded {
        /// A test vector of bcrypt, the only form that the registry takes: the password is `U*U`.
        const PASSWORDS: &str = "ada:$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW\n";
        let port = PORT + 1;
        let directory = engine.directory().join("registry");
        let passwords = directory.join("htpasswd");
        std::fs::write(&passwords, PASSWORDS).expect("write the registry's passwords");
        let configuration = format!(
            "version: 0.1\nlog:\n  level: info\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: 127.0.0.1:{port}\n\
             auth:\n  htpasswd:\n    realm: ours\n    path: {}\n",
            directory.join("data").display(),
            passwords.display(),
        );
        std::fs::write(directory.join("guarded.yml"), configuration).expect("write the registry's configuration");
        let mut registry = engine.inside("docker-registry");
        registry.arg("serve").arg(directory.join("guarded.yml"));
        let process = engine.spawn_until(registry, "guarded-registry", || engine.is_listening(port));
        Guarded { port, auth: "YWRhOlUqVQ==", process }
    }
}

/// Starts the registry on what its directory holds.
fn serve(engine: &Engine) -> Child {
    let mut registry = engine.inside("docker-registry");
    registry.arg("serve").arg(engine.directory().join("registry/config.yml"));
    engine.spawn_until(registry, "registry", || engine.is_listening(PORT))
}

/// A root file system: a static busybox, the commands that the images use, and a place for the web root.
fn image_root(directory: &Path) -> PathBuf {
    let root = directory.join("root");
    for folder in ["bin", "www", "data", "tmp"] {
        std::fs::create_dir_all(root.join(folder)).expect("make a directory of the image");
    }
    let busybox = output_of(run().command("sh").args(["-c", "command -v busybox"])).expect("find busybox");
    std::fs::copy(busybox, root.join("bin/busybox")).expect("copy busybox");
    for command in
        ["cat", "env", "echo", "false", "httpd", "kill", "ls", "nc", "nslookup", "sh", "sleep", "touch", "true"]
    {
        std::os::unix::fs::symlink("busybox", root.join("bin").join(command)).expect("link a busybox command");
    }
    root
}

/// Imports the root as an image, pushes it, and forgets it in the engine, so that using it needs a real pull.
fn push_image(engine: &Engine, root: &Path, name: &str, tag: &str, script: &str) -> Image {
    std::fs::write(root.join("www/version"), format!("{name} {tag}\n")).expect("write the version");
    let command = format!("CMD {}", serde_json::json!(["/bin/sh", "-c", script]));
    push_root(engine, root, name, tag, &[&command, "EXPOSE 8080"])
}

/// The same for any root.
fn push_root(engine: &Engine, root: &Path, name: &str, tag: &str, changes: &[&str]) -> Image {
    let name = format!("{ADDRESS}/{name}");
    let reference = format!("{name}:{tag}");
    let mut tar =
        run().command("tar").arg("-C").arg(root).args(["-c", "."]).stdout(Stdio::piped()).spawn().expect("start tar");
    let mut import = engine.docker_command();
    import.arg("import");
    for change in changes {
        import.args(["--change", change]);
    }
    import.args(["-", &reference]).stdin(tar.stdout.take().expect("stdout was piped"));
    output_of(&mut import).expect("import an image");
    assert!(tar.wait().expect("wait for tar").success(), "tar packs the image");
    engine.docker(&["push", &reference]);
    // As the registry has it: engines may know an image by more digests than that.
    let repository = name.split_once('/').expect("a registry and a repository").1;
    let link = format!("registry/data/docker/registry/v2/repositories/{repository}/_manifests/tags/{tag}/current/link");
    let digest = std::fs::read_to_string(engine.directory().join(link)).expect("the registry has it").trim().to_owned();
    let ids = engine.docker(&["image", "ls", "--quiet", "--no-trunc", &reference]);
    ids.lines().take(1).for_each(|id| _ = engine.docker(&["image", "rm", "--force", id]));
    Image { name, tag: tag.to_owned(), digest }
}
