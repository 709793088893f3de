import { rmSync, writeFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import type { VerifiedProvenance } from '../../../src/image/provenance.ts';
import { formatIdentityFile, parseIdentity } from '../../../src/trust/keyless-identity.ts';
import { addTrustedKeys } from '../../../src/trust/keystore.ts';
import { verifyManifest } from '../../../src/trust/manifest-verification.ts';
import { recheckProvenance } from '../../../src/trust/recheck.ts';
import { newDirectories } from './keyless-trust.ts';
import { imageCandidate, imageName } from './signed-manifest.ts';
import { found, identity, issuer, SigstoreWorld } from './sigstore-world.ts';

let world: SigstoreWorld;
beforeAll(async () => {
  world = await SigstoreWorld.create();
});

/** Has an identity vouch for the image; answers what the record keeps, and the trusted root's file. */
async function vouched() {
  const directories = newDirectories();
  const root = world.install(directories);
  const file = Buffer.from(formatIdentityFile(parseIdentity(identity, issuer)));
  await addTrustedKeys(directories, file, { scope: 'prefix', prefix: imageName });
  const { provenance } = await verifyManifest({
    directories,
    name: imageName,
    candidates: [imageCandidate],
    signatures: [found(await world.statementBundle())],
    identity: 'tag',
  });
  return { directories, root, provenance };
}

const question = (provenance: VerifiedProvenance, directories: ReturnType<typeof newDirectories>) =>
  recheckProvenance(provenance, imageName, directories);

describe('asking again about an image an identity vouched for', () => {
  it('answers yes while its authority is in a trusted root, whatever else that says by now', async () => {
    const { directories, root, provenance } = await vouched();
    await question(provenance, directories);
    rmSync(root);
    world.install(directories, ['tlogs', 'timestampAuthorities'], 'renewed.json');
    await question(provenance, directories);
  });

  it('answers no when the trusted root is gone, and says how to trust it again', async () => {
    const { directories, root, provenance } = await vouched();
    rmSync(root);
    await expect(question(provenance, directories)).rejects.toMatchObject({
      code: 'untrusted',
      message: expect.stringMatching(/is in no trusted root any more.*--trusted-root FILE/),
    });
  });

  it('answers no when the trusted root is masked, or another deployment’s', async () => {
    const { directories, root, provenance } = await vouched();
    writeFileSync(root, '');
    await expect(question(provenance, directories)).rejects.toMatchObject({ code: 'untrusted' });
    (await SigstoreWorld.create()).install(directories);
    await expect(question(provenance, directories)).rejects.toMatchObject({ code: 'untrusted' });
  });

  it('does not ask for what records of before do not say', async () => {
    const { directories, root, provenance } = await vouched();
    rmSync(root);
    if (provenance.kind !== 'sigstore-identity') throw new Error('another kind');
    const { issuedBy: _, ...before } = provenance;
    await question(before, directories);
  });
});
