//! A filesystem in memory that can fail, stop, and forget what was not synced.
//!
//! For tests only. Every call of [`Folder`] and [`Octets`] counts as one; [`Disk::fail_at`]
//! makes one of them fail, [`Disk::stop_after`] is `kill -9` after a call: later calls do
//! nothing. [`Disk::restart`] is the next process on the same running kernel (everything
//! written is still there), [`Disk::power_loss`] the next boot. [`Disk::turns`] makes two
//! threads take their calls in a given order, and stops the world at its end.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::{Facts, Folder, Octets};

/// What survives of content that was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Survives {
    /// Nothing: what the last sync left.
    Nothing,
    /// Everything written.
    Everything,
    /// The size and the first 512 octets; the rest reads as zeros.
    FirstSector,
}

#[derive(Clone, Copy, Debug)]
enum Plan {
    Fail(u64, io::ErrorKind),
    Short(u64),
    Stop(u64),
}

#[derive(Clone, Default)]
struct Inode {
    content: Vec<u8>,
    durable: Vec<u8>,
    /// The handle that holds the lock.
    locked: Option<u64>,
}

#[derive(Clone, Default)]
struct Names {
    now: BTreeMap<String, usize>,
    durable: BTreeMap<String, usize>,
}

#[derive(Clone, Default)]
struct World {
    inodes: Vec<Inode>,
    folders: Vec<Names>,
    /// Directories by parent and name; they never go away.
    tree: BTreeMap<(usize, String), usize>,
    calls: u64,
    handles: u64,
    plan: Option<Plan>,
    stopped: bool,
    /// Whose call comes next, and how many have been made; used by threads that act.
    turns: Option<(Vec<usize>, usize)>,
    /// Actors that have no more calls to make.
    finished: Vec<usize>,
    /// An actor's turn came that was finished: this order is another one's twin.
    twin: bool,
}

thread_local! {
    static ACTOR: Cell<Option<usize>> = const { Cell::new(None) };
}

/// While it lives, the thread is an actor of [`Disk::turns`].
pub struct Acting(Disk);

impl Drop for Acting {
    fn drop(&mut self) {
        if let Some(actor) = ACTOR.take() {
            self.0.world().finished.push(actor);
            self.0.0.1.notify_all();
        }
    }
}

/// The disk; clones are the same disk.
#[derive(Clone, Default)]
pub struct Disk(Arc<(Mutex<World>, Condvar)>);

/// A directory on it.
#[derive(Clone)]
pub struct MemoryFolder {
    disk: Disk,
    folder: usize,
}

/// An open file on it.
pub struct MemoryFile {
    disk: Disk,
    inode: usize,
    handle: u64,
    writable: bool,
}

impl Disk {
    /// An empty disk with its root directory.
    #[must_use]
    pub fn new() -> Self {
        let disk = Self::default();
        disk.world().folders.push(Names::default());
        disk
    }

    /// A disk of its own with the same content.
    #[must_use]
    pub fn copy(&self) -> Self {
        let copy = Self::default();
        *copy.world() = self.world().clone();
        copy
    }

    /// The root directory.
    #[must_use]
    pub fn root(&self) -> MemoryFolder {
        MemoryFolder {
            disk: self.clone(),
            folder: 0,
        }
    }

    /// Calls made so far.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.world().calls
    }

    /// The call after `done` further ones fails with this error.
    pub fn fail_at(&self, done: u64, kind: io::ErrorKind) {
        let mut world = self.world();
        world.plan = Some(Plan::Fail(world.calls + done, kind));
    }

    /// The call after `done` further ones, if it is a write, writes half of what it was given.
    pub fn short_at(&self, done: u64) {
        let mut world = self.world();
        world.plan = Some(Plan::Short(world.calls + done));
    }

    /// After `done` further calls nothing happens any more.
    pub fn stop_after(&self, done: u64) {
        let mut world = self.world();
        world.plan = Some(Plan::Stop(world.calls + done));
    }

    /// Whether the stop has happened.
    #[must_use]
    pub fn stopped(&self) -> bool {
        self.world().stopped
    }

    /// The processes are gone, their locks with them; the kernel has kept what was written.
    pub fn restart(&self) {
        let mut world = self.world();
        world.plan = None;
        world.turns = None;
        world.stopped = false;
        for inode in &mut world.inodes {
            inode.locked = None;
        }
    }

    /// The machine lost its power. `names`: unsynced creations, renames and removals survive.
    pub fn power_loss(&self, content: Survives, names: bool) {
        self.restart();
        let mut world = self.world();
        for inode in &mut world.inodes {
            match content {
                Survives::Nothing => inode.content = inode.durable.clone(),
                Survives::Everything => inode.durable = inode.content.clone(),
                Survives::FirstSector => {
                    let synced = inode.durable.len();
                    if inode.durable != inode.content {
                        let from = synced.max(512).min(inode.content.len());
                        inode.content[from..].fill(0);
                    }
                    inode.durable = inode.content.clone();
                }
            }
        }
        for folder in &mut world.folders {
            if names {
                folder.durable = folder.now.clone();
            } else {
                folder.now = folder.durable.clone();
            }
        }
    }

    /// Calls of acting threads are made in this order; after its end nothing happens any more.
    pub fn turns(&self, order: Vec<usize>) {
        let mut world = self.world();
        world.turns = Some((order, 0));
        world.finished.clear();
        world.twin = false;
    }

    /// Makes this thread an actor. To be called once per thread.
    #[must_use]
    pub fn act(&self, actor: usize) -> Acting {
        ACTOR.set(Some(actor));
        Acting(self.clone())
    }

    /// Whether the order held a turn for an actor that had finished before.
    #[must_use]
    pub fn twin(&self) -> bool {
        self.world().twin
    }

    /// Waits for the calling actor's turn.
    fn wait(&self) {
        let Some(actor) = ACTOR.get() else { return };
        let mut world = self.world();
        loop {
            let Some((order, at)) = &world.turns else {
                return;
            };
            let Some(&next) = order.get(*at) else {
                world.stopped = true;
                self.0.1.notify_all();
                return;
            };
            if world.finished.contains(&next) {
                world.twin = true;
            } else if next != actor {
                world = self.0.1.wait(world).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            if let Some((_, at)) = &mut world.turns {
                *at += 1;
            }
            self.0.1.notify_all();
            if next == actor {
                return;
            }
        }
    }

    /// A panic of a test thread must not hide its own message behind a poisoned lock.
    fn world(&self) -> MutexGuard<'_, World> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one call; `Ok(true)`: make this write short.
    fn enter(&self) -> io::Result<(MutexGuard<'_, World>, bool)> {
        self.wait();
        let mut world = self.world();
        let number = world.calls;
        world.calls += 1;
        let mut short = false;
        match world.plan {
            Some(Plan::Stop(after)) if number >= after => world.stopped = true,
            Some(Plan::Fail(at, kind)) if number == at => return Err(kind.into()),
            Some(Plan::Short(at)) => short = number == at,
            _ => {}
        }
        if world.stopped {
            return Err(io::Error::other("the process is gone"));
        }
        Ok((world, short))
    }

    fn open(&self, world: &mut World, inode: usize, writable: bool) -> MemoryFile {
        world.handles += 1;
        MemoryFile {
            disk: self.clone(),
            inode,
            handle: world.handles,
            writable,
        }
    }
}

impl std::fmt::Debug for MemoryFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "inode {}", self.inode)
    }
}

impl Drop for MemoryFile {
    fn drop(&mut self) {
        let mut world = self.disk.world();
        if let Some(inode) = world.inodes.get_mut(self.inode) {
            if inode.locked == Some(self.handle) {
                inode.locked = None;
            }
        }
    }
}

fn missing() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl Octets for MemoryFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let (world, _) = self.disk.enter()?;
        let content = &world.inodes.get(self.inode).ok_or_else(missing)?.content;
        let rest = content.get(offset as usize..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn write_at(&self, octets: &[u8], offset: u64) -> io::Result<usize> {
        let (mut world, short) = self.disk.enter()?;
        if !self.writable {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let count = if short {
            octets.len().div_ceil(2)
        } else {
            octets.len()
        };
        let content = &mut world
            .inodes
            .get_mut(self.inode)
            .ok_or_else(missing)?
            .content;
        let end = offset as usize + count;
        if content.len() < end {
            content.resize(end, 0);
        }
        content[offset as usize..end].copy_from_slice(&octets[..count]);
        Ok(count)
    }

    fn sync(&self) -> io::Result<()> {
        let (mut world, _) = self.disk.enter()?;
        let inode = world.inodes.get_mut(self.inode).ok_or_else(missing)?;
        inode.durable = inode.content.clone();
        Ok(())
    }

    fn try_lock(&self) -> io::Result<bool> {
        let (mut world, _) = self.disk.enter()?;
        let inode = world.inodes.get_mut(self.inode).ok_or_else(missing)?;
        match inode.locked {
            Some(holder) if holder != self.handle => Ok(false),
            _ => {
                inode.locked = Some(self.handle);
                Ok(true)
            }
        }
    }

    fn facts(&self) -> io::Result<Facts> {
        let (world, _) = self.disk.enter()?;
        let length = world
            .inodes
            .get(self.inode)
            .ok_or_else(missing)?
            .content
            .len() as u64;
        let links = world
            .folders
            .iter()
            .flat_map(|f| f.now.values())
            .filter(|&&i| i == self.inode)
            .count();
        Ok(Facts {
            length,
            links: links as u64,
            regular: true,
        })
    }
}

impl MemoryFolder {
    fn find(&self, world: &World, name: &str) -> io::Result<usize> {
        world
            .folders
            .get(self.folder)
            .and_then(|f| f.now.get(name))
            .copied()
            .ok_or_else(missing)
    }
}

impl Folder for MemoryFolder {
    type File = MemoryFile;

    fn create_new(&self, name: &str, _mode: u32) -> io::Result<MemoryFile> {
        let (mut world, _) = self.disk.enter()?;
        if self.find(&world, name).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        world.inodes.push(Inode::default());
        let inode = world.inodes.len() - 1;
        world
            .folders
            .get_mut(self.folder)
            .ok_or_else(missing)?
            .now
            .insert(name.to_owned(), inode);
        Ok(self.disk.open(&mut world, inode, true))
    }

    fn open_read(&self, name: &str) -> io::Result<MemoryFile> {
        let (mut world, _) = self.disk.enter()?;
        let inode = self.find(&world, name)?;
        Ok(self.disk.open(&mut world, inode, false))
    }

    fn open_write(&self, name: &str) -> io::Result<MemoryFile> {
        let (mut world, _) = self.disk.enter()?;
        let inode = self.find(&world, name)?;
        Ok(self.disk.open(&mut world, inode, true))
    }

    fn open_folder(&self, name: &str) -> io::Result<Self> {
        let (world, _) = self.disk.enter()?;
        let folder = *world
            .tree
            .get(&(self.folder, name.to_owned()))
            .ok_or_else(missing)?;
        Ok(Self {
            disk: self.disk.clone(),
            folder,
        })
    }

    fn make_folder(&self, name: &str, _mode: u32) -> io::Result<()> {
        let (mut world, _) = self.disk.enter()?;
        let key = (self.folder, name.to_owned());
        if world.tree.contains_key(&key) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        world.folders.push(Names::default());
        let folder = world.folders.len() - 1;
        world.tree.insert(key, folder);
        Ok(())
    }

    fn unlink(&self, name: &str) -> io::Result<()> {
        let (mut world, _) = self.disk.enter()?;
        let names = world.folders.get_mut(self.folder).ok_or_else(missing)?;
        names.now.remove(name).map(|_| ()).ok_or_else(missing)
    }

    fn rename(&self, name: &str, to: &Self, new_name: &str) -> io::Result<()> {
        let (mut world, _) = self.disk.enter()?;
        let inode = self.find(&world, name)?;
        // Journals make a rename one step: both directories remember it or neither.
        if let Some(from) = world.folders.get_mut(self.folder) {
            from.now.remove(name);
            if from.durable.remove(name).is_some() {
                if let Some(target) = world.folders.get_mut(to.folder) {
                    target.durable.insert(new_name.to_owned(), inode);
                }
            }
        }
        let target = world.folders.get_mut(to.folder).ok_or_else(missing)?;
        target.now.insert(new_name.to_owned(), inode);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let (mut world, _) = self.disk.enter()?;
        let names = world.folders.get_mut(self.folder).ok_or_else(missing)?;
        names.durable = names.now.clone();
        Ok(())
    }

    fn names(&self, each: &mut dyn FnMut(&str)) -> io::Result<()> {
        let (world, _) = self.disk.enter()?;
        let names: Vec<String> = world
            .folders
            .get(self.folder)
            .ok_or_else(missing)?
            .now
            .keys()
            .cloned()
            .collect();
        drop(world);
        names.iter().for_each(|name| each(name));
        Ok(())
    }
}
