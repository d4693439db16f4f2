/**
 * Serves slates from the topic alone: no door, no other store. Copy it with package.json, and change what you like.
 *
 * `recommendations` is compacted by user, so whoever reads it from its beginning has each user's newest slate; a message
 * without a value says that a user was erased. To read one twice changes nothing. What people see and do goes back as
 * events that name the slate: so experiments and rankers know what came of it.
 *
 * By kafkajs, which is JavaScript alone: it runs wherever Node does, and nothing is compiled or fetched when it is
 * installed. Its last release is of 2023; `@confluentinc/kafka-javascript`, which brings librdkafka as a binary, has the
 * same interface under `KafkaJS` and knows lz4 by itself, but has no event END_BATCH_PROCESS.
 */

import { randomUUID } from "node:crypto";
import { createRequire } from "node:module";
import kafkajs, { type Consumer, type Producer } from "kafkajs";

const { CompressionCodecs, CompressionTypes, Kafka, Partitioners, logLevel } = kafkajs;

/** Eddy compresses with lz4, for which kafkajs has no codec of its own. */
type Codec = { compress(data: Uint8Array): Uint8Array; decompress(data: Uint8Array): Uint8Array };
const lz4 = createRequire(import.meta.url)("lz4js") as Codec;
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: async (encoder: { buffer: Buffer }) => Buffer.from(lz4.compress(encoder.buffer)),
  decompress: async (data: Buffer) => Buffer.from(lz4.decompress(data)),
});

/** What is used of a slate; deploy/contract/schemas/Slate.json has all of it. */
export interface SlateItem {
  item_id: string;
  position: number;
}
export interface Slate {
  recommendation_id: string;
  user_id: string;
  created_at: number;
  items: SlateItem[];
}

/** What is said of an item; deploy/contract/schemas/Event.json has all that can be. */
export interface SlateEvent {
  event_id: string;
  user_id: string;
  item_id: string;
  event_type: "impression" | "click";
  timestamp: number;
  recommendation_id: string;
  position: number;
}

/** Follows `recommendations`; `of` gives a user's newest slate. */
export class Slates {
  /** Settled once all that the topic held at the start is known: serve from then on. */
  readonly complete: Promise<void>;
  private readonly newest = new Map<string, Slate>();
  private readonly consumer: Consumer;
  private readonly producer: Producer;
  private readonly connected: Promise<void>;

  /**
   * @param servers of Kafka, `host:port` each.
   * @param prefix EDDY_TOPICS__PREFIX of the installation.
   */
  constructor(
    servers: string[],
    private readonly prefix = "",
  ) {
    const kafka = new Kafka({ brokers: servers, logLevel: logLevel.ERROR });
    // Each process reads everything: its group is its own, and nothing is committed. Committed transactions alone are
    // read, which is what kafkajs does unless it is told otherwise.
    this.consumer = kafka.consumer({ groupId: `slates-${randomUUID()}`, maxWaitTimeInMs: 50 });
    this.producer = kafka.producer({
      idempotent: true,
      maxInFlightRequests: 1,
      createPartitioner: Partitioners.DefaultPartitioner,
    });
    this.connected = this.producer.connect();
    this.complete = this.follow(kafka.admin());
  }

  /** Return a user's newest slate; undefined where there is none, or the user was erased. */
  of(userId: string): Slate | undefined {
    return this.newest.get(userId);
  }

  /** Say that an item of a slate was on the screen; settled once the broker has it. */
  shown(slate: Slate, item: SlateItem): Promise<void> {
    return this.tell("impression", slate, item);
  }

  /** Say that it was clicked. */
  clicked(slate: Slate, item: SlateItem): Promise<void> {
    return this.tell("click", slate, item);
  }

  /** Deliver what was said, and stop. */
  async close(): Promise<void> {
    await this.connected;
    await Promise.all([this.producer.disconnect(), this.consumer.disconnect()]);
  }

  private async tell(event_type: SlateEvent["event_type"], slate: Slate, item: SlateItem): Promise<void> {
    const event: SlateEvent = {
      event_id: randomUUID(),
      user_id: slate.user_id,
      item_id: item.item_id,
      event_type,
      timestamp: Date.now(),
      recommendation_id: slate.recommendation_id,
      position: item.position,
    };
    await this.connected;
    // By the user's id as key: so their messages stay in order. Sent again after a lost answer, it is there once.
    const messages = [{ key: slate.user_id, value: JSON.stringify(event) }];
    await this.producer.send({ topic: `${this.prefix}events`, acks: -1, messages });
  }

  private async follow(admin: ReturnType<InstanceType<typeof Kafka>["admin"]>): Promise<void> {
    const topic = `${this.prefix}recommendations`;
    await admin.connect();
    const bounds = await admin.fetchTopicOffsets(topic);
    await admin.disconnect();
    const unread = new Map(bounds.filter((at) => at.low !== at.high).map((at) => [at.partition, BigInt(at.high)]));

    await this.consumer.connect();
    await this.consumer.subscribe({ topic, fromBeginning: true });
    const complete = new Promise<void>((resolve) => {
      // Also of batches that hold nothing but the marks of transactions, which are what a partition often ends with.
      this.consumer.on(this.consumer.events.END_BATCH_PROCESS, ({ payload }) => {
        const end = unread.get(payload.partition);
        if (end !== undefined && BigInt(payload.lastOffset) + 1n >= end) unread.delete(payload.partition);
        if (unread.size === 0) resolve();
      });
      if (unread.size === 0) resolve();
    });
    await this.consumer.run({
      autoCommit: false,
      eachMessage: async ({ message }) => this.take(message.key, message.value),
    });
    await complete;
  }

  private take(key: Buffer | null, value: Buffer | null): void {
    const userId = key?.toString() ?? "";
    if (value === null) this.newest.delete(userId);
    else this.newest.set(userId, JSON.parse(value.toString()) as Slate);
  }
}
