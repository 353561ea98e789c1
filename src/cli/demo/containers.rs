//! The demo on a real container engine: tiny images made on the spot, a container changed by hand, and everything removed.

use super::repo::Edit;
use super::story::BROKEN_DIGITS;
use anyhow::{Context as _, bail};
use bollard::Docker;
use bollard::query_parameters::{
    CreateImageOptionsBuilder, ListContainersOptionsBuilder, ListNetworksOptionsBuilder, ListVolumesOptionsBuilder,
    RemoveContainerOptionsBuilder, RemoveImageOptionsBuilder, RemoveVolumeOptionsBuilder,
};
use futures_util::StreamExt as _;
use std::collections::BTreeSet;
use std::path::Path;

/// Where the example's images come from; nobody serves them.
const EXAMPLE_REGISTRY: &str = "registry.example.com/";
/// What the demo's own images are called.
const DEMO_IMAGES: &str = "bellwether-demo/";
/// How many digits of an image's digest become its tag.
const TAG_DIGITS: usize = 12;
/// Seconds that one request to the engine may take.
const TIMEOUT_SECS: u64 = 60;

/// A container engine that the demo may use.
pub struct Containers {
    docker: Docker,
    images: BTreeSet<String>,
}

impl Containers {
    /// Connects to the engine and makes sure that it answers.
    pub async fn connect(socket: &Path) -> anyhow::Result<Self> {
        let attempted = || format!("cannot reach a container engine at {}", socket.display());
        let path = socket.to_str().with_context(attempted)?;
        let docker = Docker::connect_with_unix(path, TIMEOUT_SECS, bollard::API_DEFAULT_VERSION)
            .with_context(attempted)?
            .negotiate_version()
            .await
            .with_context(attempted)?;
        docker.ping().await.with_context(attempted)?;
        Ok(Self { docker, images: BTreeSet::new() })
    }

    /// Refuses to go on if the engine has containers of devices with these names: they are somebody's.
    pub async fn refuse_foreign(&self, devices: &[String]) -> anyhow::Result<()> {
        for device in devices {
            let theirs = self.containers_of(device).await?;
            if !theirs.is_empty() {
                bail!("the engine has containers of a device called {device} already, which the demo must not touch");
            }
        }
        Ok(())
    }

    /// Makes an image for each one that the files name, and returns the files with these images in them.
    pub async fn with_images(&mut self, files: &[Edit]) -> anyhow::Result<Vec<Edit>> {
        let mut own = Vec::new();
        for (path, text) in files {
            let mut changed = text.clone();
            for reference in text.split_whitespace().filter(|word| word.starts_with(EXAMPLE_REGISTRY)) {
                let image = demo_image(reference).with_context(|| format!("{reference} in {path}"))?;
                self.make_image(&image).await?;
                changed = changed.replace(reference, &image);
            }
            own.push((path.clone(), changed));
        }
        Ok(own)
    }

    async fn make_image(&mut self, image: &str) -> anyhow::Result<()> {
        if !self.images.insert(image.to_owned()) {
            return Ok(());
        }
        let (name, tag) = image.rsplit_once(':').context("a demo image has a tag")?;
        let options = CreateImageOptionsBuilder::default()
            .from_src("-")
            .repo(name)
            .tag(tag)
            .changes(vec!["ENTRYPOINT [\"/wait\"]".to_owned()])
            .build();
        let program = WAIT_PROGRAM?;
        let archive = match image.ends_with(&BROKEN_DIGITS[..TAG_DIGITS]) {
            true => archive("wait", &ending(program)),
            false => archive("wait", program),
        };
        let archive = bollard::body_full(archive.into());
        let mut progress = self.docker.create_image(Some(options), Some(archive), None);
        while let Some(step) = progress.next().await {
            step.with_context(|| format!("cannot make the image {image}"))?;
        }
        Ok(())
    }

    async fn containers_of(&self, device: &str) -> anyhow::Result<Vec<String>> {
        let options = ListContainersOptionsBuilder::default().all(true).filters(&label_filter(device)).build();
        let all = self.docker.list_containers(Some(options)).await.context("cannot list containers")?;
        Ok(all.into_iter().filter_map(|one| one.id).collect())
    }

    /// Removes a container of a service by hand, as a person with `docker rm -f` would.
    pub async fn remove_by_hand(&self, device: &str, service: &str) -> anyhow::Result<()> {
        let mut filters = label_filter(device);
        filters.entry("label".to_owned()).or_default().push(format!("bellwether.service={service}"));
        let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
        let all = self.docker.list_containers(Some(options)).await.context("cannot list containers")?;
        let id = all.into_iter().find_map(|one| one.id).context("the container to remove is not there")?;
        let force = RemoveContainerOptionsBuilder::default().force(true).build();
        self.docker.remove_container(&id, Some(force)).await.context("cannot remove the container")
    }

    /// Removes everything that the demo's devices left in the engine, and the demo's images.
    pub async fn clean_up(&self, devices: &[String]) -> anyhow::Result<()> {
        for device in devices {
            for id in self.containers_of(device).await? {
                let force = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
                self.docker.remove_container(&id, Some(force)).await.context("cannot remove a container")?;
            }
            let filters = label_filter(device);
            let options = ListNetworksOptionsBuilder::default().filters(&filters).build();
            for network in self.docker.list_networks(Some(options)).await.context("cannot list networks")? {
                if let Some(id) = network.id {
                    self.docker.remove_network(&id).await.context("cannot remove a network")?;
                }
            }
            let options = ListVolumesOptionsBuilder::default().filters(&filters).build();
            let volumes = self.docker.list_volumes(Some(options)).await.context("cannot list volumes")?;
            for volume in volumes.volumes.unwrap_or_default() {
                let force = RemoveVolumeOptionsBuilder::default().force(true).build();
                self.docker.remove_volume(&volume.name, Some(force)).await.context("cannot remove a volume")?;
            }
        }
        for image in &self.images {
            let force = RemoveImageOptionsBuilder::default().force(true).build();
            match self.docker.remove_image(image, Some(force), None).await {
                // Making it is what failed.
                Err(bollard::errors::Error::DockerResponseServerError { status_code: 404, .. }) => {}
                other => drop(other.context("cannot remove an image")?),
            }
        }
        Ok(())
    }
}

#[allow(
    clippy::disallowed_types,
    reason = "the Docker client takes filters as this type; with one key there is no order"
)]
fn label_filter(device: &str) -> std::collections::HashMap<String, Vec<String>> {
    [("label".to_owned(), vec![format!("bellwether.device={device}")])].into()
}

/// `registry.example.com/name@sha256:abc…` becomes `bellwether-demo/name:abc…`, cut to twelve digits.
fn demo_image(reference: &str) -> Option<String> {
    let (name, digest) = reference.strip_prefix(EXAMPLE_REGISTRY)?.split_once("@sha256:")?;
    Some(format!("{DEMO_IMAGES}{name}:{}", digest.get(..TAG_DIGITS)?))
}

/// A whole program that waits until it is asked to stop: an ELF header, a program header, and three system calls. It blocks
/// SIGTERM and waits for it, because the first process of a container gets no signal that it neither blocks nor handles.
#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
const WAIT_PROGRAM: Result<&[u8], NoProgram> = Ok(&[
    0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, // 64 bits, little endian
    2, 0, 0x3e, 0, 1, 0, 0, 0, 0x78, 0, 0x40, 0, 0, 0, 0, 0,    // executable, x86-64, entry 0x400078
    0x40, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,          // program headers at 64
    0, 0, 0, 0, 0x40, 0, 0x38, 0, 1, 0, 0, 0, 0, 0, 0, 0,       // one of 56 bytes
    1, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,             // load, read and execute, from the file's start
    0, 0, 0x40, 0, 0, 0, 0, 0, 0, 0, 0x40, 0, 0, 0, 0, 0,       // at 0x400000
    0xb9, 0, 0, 0, 0, 0, 0, 0, 0xb9, 0, 0, 0, 0, 0, 0, 0,       // 185 bytes
    0, 0x10, 0, 0, 0, 0, 0, 0,                                  // aligned to a page
    0xb8, 0x0e, 0, 0, 0,          // mov eax, 14: rt_sigprocmask
    0x31, 0xff,                   // xor edi, edi: block
    0xbe, 0xb1, 0, 0x40, 0,       // mov esi, mask
    0x31, 0xd2,                   // xor edx, edx
    0x41, 0xba, 8, 0, 0, 0,       // mov r10d, 8
    0x0f, 0x05,                   // syscall
    0xb8, 0x80, 0, 0, 0,          // again: mov eax, 128: rt_sigtimedwait
    0xbf, 0xb1, 0, 0x40, 0,       // mov edi, mask
    0x31, 0xf6,                   // xor esi, esi
    0x31, 0xd2,                   // xor edx, edx: for ever
    0x41, 0xba, 8, 0, 0, 0,       // mov r10d, 8
    0x0f, 0x05,                   // syscall
    0x85, 0xc0,                   // test eax, eax
    0x78, 0xe6,                   // js again
    0xb8, 0x3c, 0, 0, 0,          // mov eax, 60: exit
    0x31, 0xff,                   // xor edi, edi
    0x0f, 0x05,                   // syscall
    0, 0x40, 0, 0, 0, 0, 0, 0,    // mask: SIGTERM
]);
#[cfg(not(target_arch = "x86_64"))]
const WAIT_PROGRAM: Result<&[u8], NoProgram> = Err(NoProgram);

/// The same program, which ends with status 3 before it does anything.
fn ending(program: &[u8]) -> Vec<u8> {
    const ENTRY: usize = 0x78;
    const CODE: [u8; 12] = [
        0xb8, 0x3c, 0, 0, 0, // mov eax, 60: exit
        0xbf, 3, 0, 0, 0, // mov edi, 3
        0x0f, 0x05, // syscall
    ];
    let mut ending = program.to_vec();
    ending.splice(ENTRY..ENTRY + CODE.len(), CODE);
    ending
}

/// The demo has no program for this kind of processor.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the demo can make images for x86-64 only; run it with the simulated engine")]
struct NoProgram;

/// A tar archive with one executable file.
fn archive(name: &str, content: &[u8]) -> Vec<u8> {
    const BLOCK: usize = 512;
    let mut header = [0u8; BLOCK];
    let mut put = |at: usize, text: &[u8]| header[at..at + text.len()].copy_from_slice(text);
    put(0, name.as_bytes());
    put(100, b"0000755\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{:011o}\0", content.len()).as_bytes());
    put(136, b"00000000000\0");
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut archive = header.to_vec();
    archive.extend_from_slice(content);
    archive.resize(archive.len().next_multiple_of(BLOCK) + 2 * BLOCK, 0);
    archive
}
