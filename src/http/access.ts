/**
 * What each route of the API asks of its caller: the one table, over the capabilities of `services/access.ts`. It is looked
 * at twice: by the address, before a body is read or an earlier answer repeated, and by the route that was found, should an
 * address ever be read in two ways. A route that is not in it is the administrators' alone; a test holds it complete.
 */
import type { Principal } from '../contracts/index.ts';
import { assertMay, type Capability } from '../services/access.ts';

const PREFIX = '/api/v1';
/** The other ways in, which stand in the table with the whole of their address. */
const OTHERS = /^\/(v1\/|mcp\/?$)/;

export const ACCESS: Readonly<Record<string, Capability>> = {
  'GET /me': 'any',
  'POST /ws/tickets': 'any',
  'POST /auth/logout': 'session',

  'GET /documents': 'read',
  'GET /documents/:id': 'read',
  'GET /documents/:id/content': 'read',
  'GET /documents/:id/text': 'read',
  'GET /documents/:id/chunks': 'read',
  'DELETE /documents/:id': 'write',
  'POST /upload': 'write',
  'OPTIONS /uploads/tus': 'any',
  'POST /uploads/tus': 'write',
  'HEAD /uploads/tus/:id': 'write',
  'GET /uploads/tus/:id': 'write',
  'PATCH /uploads/tus/:id': 'write',
  'POST /uploads/tus/:id': 'write',
  'DELETE /uploads/tus/:id': 'write',
  'POST /chunking/preview': 'read',
  'POST /search': 'read',
  'GET /usage': 'read',

  'GET /tasks': 'read',
  'GET /tasks/:id': 'read',
  'GET /tasks/:id/status': 'read',
  'GET /tasks/:id/log': 'read',
  'POST /tasks/:id/retry': 'write',
  'POST /tasks/:id/cancel': 'write',

  'GET /sources': 'read',
  'GET /sources/:id': 'read',
  'GET /sources/:id/items': 'read',
  'POST /sources': 'write',
  'POST /sources/:id/sync': 'write',
  'PUT /sources/:id/file': 'write',
  'DELETE /sources/:id': 'write',

  'GET /conversations': 'chat',
  'POST /conversations': 'chat',
  'GET /conversations/:id': 'chat',
  'PATCH /conversations/:id': 'chat',
  'DELETE /conversations/:id': 'chat',
  'GET /conversations/:id/messages': 'chat',
  'GET /conversations/:id/summary': 'chat',
  'POST /conversations/:id/messages': 'chat',
  'POST /messages/:id/feedback': 'chat',
  'GET /memory/structured': 'chat',
  'POST /memory/structured': 'chat',
  'GET /memory/structured/:key': 'chat',
  'PUT /memory/structured/:key': 'chat',
  'DELETE /memory/structured/:key': 'chat',
  'POST /chat': 'chat',
  'GET /turns/:id': 'chat',
  'GET /turns/:id/events': 'chat',
  'POST /turns/:id/cancel': 'chat',

  'GET /users/me/config': 'account',
  'PUT /users/me/config': 'account',
  'POST /api-keys': 'account',
  'GET /api-keys': 'account',
  'DELETE /api-keys/:id': 'account',
  // Everybody may leave; whom else one may remove is the service's to say.
  'DELETE /members/:id': 'account',
  'POST /members': 'manage',
  'GET /members': 'manage',
  'PATCH /members/:id': 'manage',

  // Everybody may go; that only an owner takes the tenant along, the service says.
  'POST /privacy/erasure': 'account',
  'POST /privacy/export': 'account',
  'GET /privacy/erasure/:id': 'any',
  'GET /admin/erasures': 'manage',
  'GET /admin/erasures/:id': 'manage',

  'GET /quotas': 'manage',
  'PUT /quotas': 'manage',
  'POST /webhooks': 'manage',
  'GET /webhooks': 'manage',
  'DELETE /webhooks/:id': 'manage',
  'GET /webhooks/:id/deliveries': 'manage',
  'GET /admin/queue': 'manage',
  'GET /admin/dead-letters': 'manage',
  'POST /admin/dead-letters/:id/replay': 'manage',
  'GET /admin/stats/tasks': 'manage',
  'GET /admin/stats/growth': 'manage',
  'GET /admin/spaces': 'manage',
  'GET /admin/spaces/:id/failures': 'manage',
  // To the operator alone, which the route says: a tenant's administrators hear that there is no such thing.
  'POST /admin/spaces': 'manage',
  'POST /admin/spaces/:id/activate': 'manage',
  'POST /admin/spaces/:id/rollback': 'manage',
  'POST /admin/spaces/:id/retire': 'manage',
  'PUT /admin/tenants/:id/quotas': 'manage',

  // The Model Context Protocol.
  'POST /mcp': 'read',
  'GET /mcp': 'read',

  // As clients of OpenAI's API call it: a client that may do anything may ask which models there are.
  'GET /v1/models': 'any',
  'GET /v1/models/:model': 'any',
  'POST /v1/embeddings': 'read',
  'POST /v1/chat/completions': 'chat',
  'POST /v1/responses': 'chat',
  'GET /v1/responses/:id': 'chat',
  'POST /v1/responses/:id/cancel': 'chat',
  'DELETE /v1/responses/:id': 'chat',
  'GET /v1/files': 'read',
  'GET /v1/files/:id': 'read',
  'GET /v1/files/:id/content': 'read',
  'POST /v1/files': 'write',
  'DELETE /v1/files/:id': 'write',
  'GET /v1/vector_stores': 'read',
  'GET /v1/vector_stores/:id': 'read',
  'POST /v1/vector_stores/:id/search': 'read',
  'POST /v1/vector_stores': 'write',
  'POST /v1/vector_stores/:id': 'write',
  'DELETE /v1/vector_stores/:id': 'write',
  'GET /v1/vector_stores/:id/files': 'read',
  'GET /v1/vector_stores/:id/files/:file': 'read',
  'POST /v1/vector_stores/:id/files': 'write',
  'POST /v1/vector_stores/:id/files/:file': 'write',
  'DELETE /v1/vector_stores/:id/files/:file': 'write',
  'GET /v1/vector_stores/:id/file_batches/:batch': 'read',
  'GET /v1/vector_stores/:id/file_batches/:batch/files': 'read',
  'POST /v1/vector_stores/:id/file_batches': 'write',
  'POST /v1/vector_stores/:id/file_batches/:batch/cancel': 'write',
};

const UNLISTED: Capability = 'manage';

interface Node {
  readonly next: Map<string, Node>;
  capability?: Capability;
}

/** By the parts of a path; `:` stands for any one of them. */
function build(): Map<string, Node> {
  const methods = new Map<string, Node>();
  for (const [route, capability] of Object.entries(ACCESS)) {
    const [method = '', path = ''] = route.split(' ');
    let node = methods.getOrInsertComputed(method, (): Node => ({ next: new Map() }));
    for (const part of path.slice(1).split('/')) {
      node = node.next.getOrInsertComputed(part.startsWith(':') ? ':' : part, (): Node => ({ next: new Map() }));
    }
    node.capability = capability;
  }
  return methods;
}

const TREE = build();

/** A path as the table has it. */
const nameOf = (path: string) => (path.startsWith(`${PREFIX}/`) ? path.slice(PREFIX.length) : path);

function capabilityOf(method: string, path: string): Capability | undefined {
  let node = TREE.get(method);
  for (const part of nameOf(path).slice(1).split('/')) node = node?.next.get(part) ?? node?.next.get(':');
  return node?.capability;
}

/** Throws `forbidden` where the address is one of a route that the principal may not call. An unknown one is let pass. */
export function assertMayAsk(principal: Principal, method: string, path: string): void {
  if (!path.startsWith(`${PREFIX}/`) && !OTHERS.test(path)) return;
  const plain = path.endsWith('/') ? path.slice(0, -1) : path;
  const capability = capabilityOf(method, plain);
  if (capability) assertMay(principal, capability);
}

/** Throws `forbidden` unless the principal may call the route, as it was registered: with `:id`. */
export function assertMayCall(principal: Principal, method: string, route: string): void {
  assertMay(principal, ACCESS[`${method} ${nameOf(route)}`] ?? UNLISTED);
}
