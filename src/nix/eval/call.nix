# What Nix's own call-flake.nix does with a flake and its lock file, without the flakes feature:
# no flake can be fetched by the one that is evaluated, and no source is read but those named here.
# A function of `source` (the hash of a tree that is in the store → its path), `nodes` (from the
# lock file), `root` (the node of the flake itself) and `newer` (since Nix 2.14 a flake in a
# sub-folder is that folder, and a flake is marked as one).
{ source, nodes, root, newer }:
let
  resolve = spec: if builtins.isList spec then walk root spec else spec;
  walk = node: path:
    if path == [ ] then node
    else walk (resolve nodes.${node}.inputs.${builtins.head path}) (builtins.tail path);
  call = _: node:
    let
      parent = all.${walk root node.parent};
      sourceInfo = if node ? relative then parent.sourceInfo
        else node.info // { outPath = source node.info.narHash; };
      below = base: dir: if dir == "" then base else base + "/" + dir;
      folder = if node ? relative then below parent.outPath node.relative
        else below sourceInfo.outPath node.dir;
      outPath = if newer then folder else sourceInfo.outPath;
      flake = import (folder + "/flake.nix");
      inputs = builtins.mapAttrs (_: spec: all.${resolve spec}) node.inputs;
      unknown = name: name != "self" && !(node.inputs ? ${name});
      missing = builtins.filter unknown (builtins.attrNames (flake.inputs or { }));
      outputs = if missing == [ ] then flake.outputs (inputs // { self = result; })
        else throw "flake.lock lacks the input ${builtins.head missing} of flake.nix; run `nix flake lock` and commit the file";
      mark = if newer then { _type = "flake"; } else { };
      result = outputs // sourceInfo // { inherit outPath inputs outputs sourceInfo; } // mark;
      plain = if newer then sourceInfo // { inherit sourceInfo outPath; } else sourceInfo;
    in
    if node.flake then result else plain;
  all = builtins.mapAttrs call nodes;
in all.${root}
