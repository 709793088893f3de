import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  type IdentitySignature,
  verifyIdentitySignature,
} from '../../../src/trust/sigstore-identity.ts';
import { temporaryDirectory } from '../../support/temporary.ts';
import { newDirectories, trusting } from './keyless-trust.ts';
import { provenanceOf, refusalOf } from './signed-manifest.ts';
import { found, SigstoreWorld } from './sigstore-world.ts';

let world: SigstoreWorld;
beforeAll(async () => {
  world = await SigstoreWorld.create();
});

const refused = (signature: IdentitySignature, context = trusting(world)) =>
  refusalOf(verifyIdentitySignature(signature, context));
const accepted = (signature: IdentitySignature, context = trusting(world)) =>
  provenanceOf(verifyIdentitySignature(signature, context));

describe('the trusted root', () => {
  it('must be installed', async () => {
    const context = { ...trusting(world), directories: newDirectories() };
    const reason = await refused(found(await world.statementBundle()), context);
    expect(reason).toContain('no sigstore trusted root is installed');
  });

  it('must be the one it was signed under', async () => {
    const other = await SigstoreWorld.create();
    const context = trusting(world);
    const path = other.install(context.directories);
    const reason = await refused(found(await world.statementBundle()), context);
    expect(reason).toContain(`no authority of ${path} issued it`);
  });

  it('may be one of several', async () => {
    const other = await SigstoreWorld.create();
    const context = trusting(world);
    other.install(context.directories, [], 'another.json');
    await accepted(found(await world.statementBundle()), context);
  });

  it('is not pieced together from several', async () => {
    const other = await SigstoreWorld.create();
    const context = trusting(world);
    world.install(context.directories, ['tlogs', 'timestampAuthorities']);
    const parts = ['certificateAuthorities', 'ctlogs'];
    other.install(context.directories, parts.slice(1), 'another.json');
    const reason = await refused(found(await world.statementBundle()), context);
    expect(reason).toContain('signed entry timestamp does not hold');
  });

  it('is refused where others can write it', async () => {
    const context = trusting(world);
    chmodSync(join(context.directories.local, 'trustedroots.d/test.json'), 0o666);
    expect(await refused(found(await world.statementBundle()), context)).toContain(
      'written by others',
    );
  });

  it('is refused where others can write its directory', async () => {
    const context = trusting(world);
    chmodSync(join(context.directories.local, 'trustedroots.d'), 0o777);
    expect(await refused(found(await world.statementBundle()), context)).toContain(
      'written by others',
    );
  });

  it('is taken away by an empty file of its name that outranks it', async () => {
    const context = trusting(world);
    const directories = {
      ...context.directories,
      system: context.directories.local,
      local: temporaryDirectory(),
    };
    mkdirSync(join(directories.local, 'trustedroots.d'));
    writeFileSync(join(directories.local, 'trustedroots.d/test.json'), '');
    const reason = await refused(found(await world.statementBundle()), { ...context, directories });
    expect(reason).toContain('no sigstore trusted root is installed');
  });

  it.each([
    ['of another kind', '{"mediaType":"application/json"}', 'not that of a sigstore trusted root'],
    ['that is not JSON', 'hello', 'not valid JSON'],
    [
      'without an authority',
      '{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}',
      'must name an authority',
    ],
    [
      'that is broken',
      '{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1","certificateAuthorities":[{}]}',
      'cannot be read',
    ],
  ])('is refused when it is one %s', async (_, content, expected) => {
    const context = trusting(world);
    writeFileSync(join(context.directories.local, 'trustedroots.d/bad.json'), content);
    expect(await refused(found(await world.statementBundle()), context)).toContain(expected);
  });
});
