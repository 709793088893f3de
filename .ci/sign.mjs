// Signs a file with a key made for it: FILE.asc, and the public key in KEY. The build warms the compile
// cache with a signed image, since that is what is run in earnest.
import { readFileSync, writeFileSync } from 'node:fs';
import { createMessage, generateKey, sign } from 'openpgp';

const [file, keyFile] = process.argv.slice(2);
const { privateKey, publicKey } = await generateKey({
  userIDs: { name: 'Build' },
  format: 'object',
});
const message = await createMessage({ binary: readFileSync(file) });
writeFileSync(`${file}.asc`, await sign({ message, signingKeys: privateKey, detached: true }));
writeFileSync(keyFile, publicKey.armor());
