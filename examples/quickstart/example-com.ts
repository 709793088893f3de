import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createAuthority } from './certificates.ts';
import { serveDirectory, startHttpsServer, startProxy } from './https-server.ts';

/** A local stand-in for the web server of example.com. */
export interface ExampleCom {
  /** What a client's environment needs so that https://example.com reaches it. */
  readonly environment: Readonly<Record<string, string>>;
  close(): Promise<void>;
}

/**
 * The page that App Container discovery reads at `https://example.com/hello?ac-discovery=1`
 * (App Container specification, "Image Discovery"): where images of that name and their keys are.
 */
export const discoveryPage = `<!DOCTYPE html>
<html>
  <head>
    <meta name="ac-discovery"
          content="example.com/hello https://example.com/images/hello-{version}-{os}-{arch}.{ext}">
    <meta name="ac-discovery-pubkeys"
          content="example.com/hello https://example.com/pubkeys.gpg">
  </head>
</html>
`;

/**
 * Serves `webRoot` as https://example.com: an HTTPS server with a certificate of an authority made
 * for the occasion, and a proxy that leads there. Nothing of the machine's own name resolution or
 * trust is touched: a client is told of both by its environment.
 *
 * @param directory where the authority's certificate is written, as `ca.pem`
 */
export async function startExampleCom(webRoot: string, directory: string): Promise<ExampleCom> {
  const authority = createAuthority();
  const certificates = join(directory, 'ca.pem');
  writeFileSync(certificates, authority.certificate);
  const server = await startHttpsServer(authority.issue(['example.com']), serveDirectory(webRoot));
  const proxy = await startProxy(new Map([['example.com:443', server.port]]));
  return {
    environment: { HTTPS_PROXY: `http://127.0.0.1:${proxy.port}`, SSL_CERT_FILE: certificates },
    close: async () => {
      await proxy.close();
      await server.close();
    },
  };
}
