// Writes the manifest.json of every shipped stage1 flavour below dist/stage1, from the table in
// src/stage1/shipped.ts.
import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { SHIPPED, shippedManifest } from '../src/stage1/shipped.ts';

for (const name of Object.keys(SHIPPED)) {
  const directory = `${import.meta.dirname}/../dist/stage1/${name}`;
  mkdirSync(directory, { recursive: true });
  const path = `${directory}/manifest.json`;
  writeFileSync(`${path}.new`, `${JSON.stringify(shippedManifest(name), null, 2)}\n`);
  renameSync(`${path}.new`, path);
}
