/** Sockets that are told together, and how long a delta took to reach them. */
import type { Crowd, HubEvent } from '../contracts/index.ts';
import type { Codec } from './codec.ts';
import type { ConnectionContext } from './connection.ts';

/** The sockets of one protocol: what a room is told is encoded once and sent by Bun itself. */
export class SocketCrowd implements Crowd {
  constructor(
    private readonly codec: Codec,
    private readonly context: Pick<ConnectionContext, 'broadcast' | 'frames' | 'timeSome'>,
  ) {}

  nativeTopic(room: string): string {
    return `${this.codec.subprotocol} ${room}`;
  }

  tell(room: string, event: HubEvent, members: number): void {
    this.context.broadcast(this.nativeTopic(room), this.codec.encodeEvent(event));
    this.context.frames.out.inc(members);
    this.context.timeSome(event);
  }
}
