//! Where lists of devices are fetched.

use super::*;

#[test]
fn a_list_of_devices_needs_a_proof_of_where_it_comes_from() {
    let lists = |text: &str| with(&format!("inventories: [{text}]")).map(|settings| settings.lists);
    let known = lists("{url: 'https://a.example/l', signed_by: keys.pub}").unwrap();
    assert!(known[0].signed_by.as_ref().unwrap().ends_with("keys.pub") && known[0].client.is_none());
    let known = lists("{url: 'https://a.example/l', ca: ca.pem, cert: c.pem, key: /k.pem}").unwrap();
    assert_eq!(known[0].client.as_ref().unwrap().key, Path::new("/k.pem"));
    let refused = |text: &str| lists(text).unwrap_err();
    insta::assert_snapshot!(refused("{url: 'https://a.example/l'}"), @r"
    the configuration cannot be used

    error[missing-key]: nothing proves that a list from there is genuine
     --> bellwether.yml:4:21
      |
    4 | inventories: [{url: 'https://a.example/l'}]
      |                     ^^^^^^^^^^^^^^^^^^^^^
      = hint: name the keys that sign it with `signed_by`, or use mTLS with `ca`, `cert` and `key`

    1 error
    ");
    insta::assert_snapshot!(refused("{url: 'https://a.example/l', cert: c.pem, key: k.pem}"), @r"
    the configuration cannot be used

    error[missing-key]: `cert` without `ca`: anybody could be at the other end
     --> bellwether.yml:4:21
      |
    4 | inventories: [{url: 'https://a.example/l', cert: c.pem, key: k.pem}]
      |                     ^^^^^^^^^^^^^^^^^^^^^
      = hint: name the authority that vouches for the server with `ca`

    1 error
    ");
    insta::assert_snapshot!(refused("{url: 'https://a.example/l', ca: ca.pem, cert: c.pem}"), @r"
    the configuration cannot be used

    error[missing-key]: `cert` and `key` belong together
     --> bellwether.yml:4:21
      |
    4 | inventories: [{url: 'https://a.example/l', ca: ca.pem, cert: c.pem}]
      |                     ^^^^^^^^^^^^^^^^^^^^^

    1 error
    ");
    insta::assert_snapshot!(refused("{url: 'https://me:secret@a.example/l', signed_by: keys.pub}"), @r"
    the configuration cannot be used

    error[bad-value]: this is not an address of a list of devices
     --> bellwether.yml:4:21
      |
    4 | inventories: [{url: 'https://me:secret@a.example/l', signed_by: keys.pub}]
      |                     ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      = hint: write `https://…` without a user or a password

    1 error
    ");
    insta::assert_snapshot!(refused("{url: 'http://a.example/l', signed_by: keys.pub}"), @r"
    the configuration cannot be used

    error[bad-value]: this is not an address of a list of devices
     --> bellwether.yml:4:21
      |
    4 | inventories: [{url: 'http://a.example/l', signed_by: keys.pub}]
      |                     ^^^^^^^^^^^^^^^^^^^^
      = hint: write `https://…` without a user or a password

    1 error
    ");
}
