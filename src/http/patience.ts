/** The part of Bun's server that cuts silent connections. */
interface Timeouts {
  timeout(request: Request, seconds: number): void;
}

/** An answer that is long in coming sends nothing meanwhile; the server would take the connection for a dead one. */
export function waitWithoutLimit(request: Request, server: Timeouts | null): void {
  server?.timeout(request, 0);
}
