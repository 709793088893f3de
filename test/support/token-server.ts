import { createPrivateKey, createSign, X509Certificate } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Identity } from '../../examples/quickstart/certificates.ts';
import {
  type LocalServer,
  startHttpServer,
  startHttpsServer,
} from '../../examples/quickstart/https-server.ts';

/** Who may have tokens, and who signs them. */
export interface TokenIssuer {
  readonly user: string;
  readonly password: string;
  /** What the registry's `rootcertbundle` has to vouch for. */
  readonly signer: Identity;
  readonly service: string;
  /** Serves HTTPS with this, plain HTTP where absent. */
  readonly tls?: Identity | undefined;
  /** Whether one may pull without saying who one is, as at Docker Hub. */
  readonly anonymousPull?: boolean | undefined;
}

/** How long a token holds, in seconds; the specification's own default is as short. */
const LIFETIME = 60;

/**
 * A token server as registries send their clients to (distribution, docs/spec/auth/token.md): a JWT for
 * the scopes asked for, by GET with Basic credentials.
 */
export function startTokenServer(issuer: TokenIssuer): Promise<LocalServer> {
  const handler = (request: IncomingMessage, response: ServerResponse) => {
    const { searchParams } = new URL(request.url ?? '/', 'https://localhost');
    const given = request.headers.authorization;
    const wanted = `Basic ${Buffer.from(`${issuer.user}:${issuer.password}`).toString('base64')}`;
    const anonymous = given === undefined && issuer.anonymousPull === true;
    if (given !== wanted && !anonymous) {
      response.writeHead(401, { 'content-type': 'application/json' });
      response.end('{"details":"incorrect username or password"}');
      return;
    }
    const access = searchParams.getAll('scope').flatMap((scope) => scope.split(' '));
    const token = signToken(
      issuer,
      access.map((scope) => grant(scope, anonymous)),
    );
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ token, expires_in: LIFETIME }));
  };
  return issuer.tls === undefined
    ? startHttpServer(handler)
    : startHttpsServer(issuer.tls, handler);
}

/** `repository:team/app:pull,push` as the claim has it; the name itself may hold a colon. */
function grant(scope: string, anonymous: boolean): object {
  const [, type = '', name = '', actions = ''] = /^([^:]+):(.+):([^:]*)$/.exec(scope) ?? [];
  const granted = actions.split(',').filter((action) => !anonymous || action === 'pull');
  return { type, name, actions: granted };
}

function signToken({ signer, service, user }: TokenIssuer, access: readonly object[]): string {
  const now = Math.floor(Date.now() / 1000);
  const certificate = new X509Certificate(signer.certificate).raw.toString('base64');
  const header = { typ: 'JWT', alg: 'RS256', x5c: [certificate] };
  const claims = {
    iss: 'gantry-test',
    sub: user,
    aud: service,
    iat: now,
    nbf: now - 10,
    exp: now + LIFETIME,
    jti: String(process.hrtime.bigint()),
    access,
  };
  const text = [header, claims].map((part) => encode(JSON.stringify(part))).join('.');
  const signature = createSign('RSA-SHA256').update(text).sign(createPrivateKey(signer.key));
  return `${text}.${signature.toString('base64url')}`;
}

function encode(text: string): string {
  return Buffer.from(text).toString('base64url');
}
