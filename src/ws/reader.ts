import type { CrowdSeat, HubEvent, TopicReader } from '../contracts/index.ts';
import type { Connection } from './connection.ts';
import type { SocketCrowd } from './crowd.ts';

/** A topic as one socket follows it. A class for the same reason as `Connection`. */
export class SocketReader implements TopicReader, CrowdSeat {
  private gate: PromiseWithResolvers<void> | undefined = Promise.withResolvers<void>();

  constructor(
    private readonly connection: Connection,
    private readonly topic: string,
  ) {}

  /** The request was answered: from now on it is fed. */
  begin(): void {
    this.gate?.resolve();
    this.gate = undefined;
  }

  event(event: HubEvent): void {
    this.connection.deliver(event);
  }

  reset(reset: Parameters<TopicReader['reset']>[0]): void {
    this.connection.reset(reset);
  }

  ready(): Promise<void> | null {
    return this.gate ? this.gate.promise : this.connection.ready();
  }

  over(): void {
    this.connection.unfollow(this.topic);
  }

  get seat(): CrowdSeat {
    return this;
  }

  get crowd(): SocketCrowd {
    return this.connection.crowd;
  }

  enter(room: string): void {
    this.connection.enter(this.crowd.nativeTopic(room));
  }

  leave(room: string): void {
    this.connection.exit(this.crowd.nativeTopic(room));
  }

  keepsUp(): boolean {
    this.connection.look();
    return this.connection.ready() === null;
  }
}
