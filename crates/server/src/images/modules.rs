//! In which order a kernel's modules are loaded: what each says that it depends on comes before it. Pure.

/// Says what a module depends on; `None`: there is no such module.
pub(super) type Needs<'a, E> = dyn FnMut(&str) -> Result<Option<Vec<String>>, E> + 'a;

/// A module that is neither here nor built in.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Missing(pub(super) String);

/// The name as the kernel uses it: a file may write `-` for `_`.
pub(super) fn name_of(file: &str) -> Option<String> {
    Some(file.strip_suffix(".ko")?.replace('-', "_"))
}

/// What a module depends on, as its own file says.
pub(super) fn depends(module: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(at) = module.windows(KEY.len()).position(|window| window == KEY) else { return Vec::new() };
    let value = module[at + KEY.len()..].split(|byte| *byte == 0).next().unwrap_or_default();
    let names = String::from_utf8_lossy(value).replace('-', "_");
    names.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// The wanted modules and what they need, each once, in the order in which they can be loaded. `built_in` are part of the kernel.
///
/// # Errors
/// The one that is neither here nor built in, or why it cannot be asked.
pub(super) fn order<E: From<Missing>>(
    wanted: &[&str],
    needs: &mut Needs<'_, E>,
    built_in: &[String],
) -> Result<Vec<String>, E> {
    let mut done = Vec::new();
    for name in wanted {
        visit(name, needs, built_in, &mut Vec::new(), &mut done)?;
    }
    Ok(done)
}

fn visit<E: From<Missing>>(
    name: &str,
    needs: &mut Needs<'_, E>,
    built_in: &[String],
    above: &mut Vec<String>,
    done: &mut Vec<String>,
) -> Result<(), E> {
    let known = |names: &[String]| names.iter().any(|one| one == name);
    // A circle cannot be loaded in any order; the kernel's own build refuses one.
    if known(done) || known(built_in) || known(above) {
        return Ok(());
    }
    let all = needs(name)?.ok_or_else(|| Missing(name.to_owned()))?;
    above.push(name.to_owned());
    for need in &all {
        visit(need, needs, built_in, above, done)?;
    }
    above.pop();
    done.push(name.to_owned());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ordered(all: &[(&str, &[&str])], wanted: &[&str], built_in: &[&str]) -> Result<Vec<String>, Missing> {
        let mut needs = |name: &str| {
            let found = all.iter().find(|(module, _)| *module == name);
            Ok(found.map(|(_, needs)| needs.iter().map(|need| (*need).to_owned()).collect()))
        };
        let built_in: Vec<String> = built_in.iter().map(|name| (*name).to_owned()).collect();
        order(wanted, &mut needs, &built_in)
    }

    #[test]
    fn a_module_says_what_it_needs() {
        assert_eq!(
            depends(b"ELF\0name=virtio_net\0depends=net-failover,virtio\0retpoline=Y\0"),
            ["net_failover", "virtio"]
        );
        assert_eq!(depends(b"\0depends=\0x"), [""; 0]);
        assert_eq!(depends(b"no such thing"), [""; 0]);
    }

    #[test]
    fn what_is_needed_comes_first_and_once() {
        let here: &[(&str, &[&str])] = &[
            ("net", &["failover", "virtio"]),
            ("failover", &[]),
            ("virtio", &["ring"]),
            ("ring", &[]),
            ("blk", &["virtio"]),
        ];
        let all = ["ring", "virtio", "blk", "failover", "net"].map(str::to_owned);
        assert_eq!(ordered(here, &["blk", "net"], &[]), Ok(all.into()));
        assert_eq!(ordered(here, &["virtio"], &["ring"]), Ok(vec!["virtio".to_owned()]));
    }

    #[test]
    fn what_is_missing_is_named_and_a_circle_ends() {
        assert_eq!(ordered(&[("a", &["b"])], &["a"], &[]), Err(Missing("b".to_owned())));
        assert!(ordered(&[("a", &["b"]), ("b", &["a"])], &["a"], &[]).is_ok());
    }

    #[test]
    fn files_are_called_otherwise_than_their_modules() {
        assert_eq!(name_of("virtio-rng.ko").as_deref(), Some("virtio_rng"));
        assert_eq!(name_of("modules.dep"), None);
    }
}
