# The package for Nix, with Rust 1.95 or newer in nixpkgs: `nix-build packaging/nix`. The project does not build
# it, and its tests do not read it: it has no version of its own that could be wrong.
{ pkgs ? import <nixpkgs> { } }:

let
  inherit (pkgs) lib;
  manifest = (builtins.fromTOML (builtins.readFile ../../Cargo.toml)).package;
  # What the Makefile is told, to build and to install.
  out = builtins.placeholder "out";
in
pkgs.stdenv.mkDerivation {
  pname = manifest.name;
  inherit (manifest) version;

  src = lib.cleanSourceWith {
    src = ../..;
    filter = path: type: lib.cleanSourceFilter path type && baseNameOf path != "target";
  };
  cargoDeps = pkgs.rustPlatform.importCargoLock { lockFile = ../../Cargo.lock; };
  nativeBuildInputs = [ pkgs.rustPlatform.cargoSetupHook pkgs.cargo pkgs.rustc ];

  postPatch = "patchShebangs scripts";
  makeFlags = [ "PREFIX=${out}" "SYSCONFDIR=${out}/etc" ];

  # The tests of the project ask for more than a sandbox has; this shows that the program runs.
  doInstallCheck = true;
  installCheckPhase = ''
    "$out/bin/${manifest.name}" --print-default-config | cmp - config/broker.toml
  '';

  meta = {
    inherit (manifest) description;
    license = lib.licenses.mit;
    mainProgram = manifest.name;
    platforms = lib.platforms.linux;
  };
}
