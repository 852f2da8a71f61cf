/**
 * `fauxqs` from the inside. Its own `startFauxqs` listens on every interface and hides its stores, so that we join its
 * parts ourselves; they are not among its exports, hence the paths.
 */
import type { DatabaseSync } from 'node:sqlite';
import { buildApp } from '../../node_modules/fauxqs/dist/app.js';
import { PersistenceManager } from '../../node_modules/fauxqs/dist/persistence.js';
import { S3Store } from '../../node_modules/fauxqs/dist/s3/s3Store.js';
import { SnsStore } from '../../node_modules/fauxqs/dist/sns/snsStore.js';
import { SqsStore } from '../../node_modules/fauxqs/dist/sqs/sqsStore.js';
import { INVALID_MESSAGE_BODY_CHAR } from '../../node_modules/fauxqs/dist/sqs/sqsTypes.js';

export type { SqsStore };

/** SQS as an unstarted Fastify app with its queues, kept in `dataDir`. */
export function buildSqs(dataDir: string): { app: ReturnType<typeof buildApp>; queues: SqsStore } {
  const sqsStore = new SqsStore();
  const snsStore = new SnsStore();
  const kept = new KeptQueues(dataDir);
  kept.loadSqsAndSns(sqsStore, snsStore);
  sqsStore.persistence = kept;
  for (const queue of sqsStore.allQueues()) queue.persistence = kept;
  const app = buildApp({ logger: false, stores: { sqsStore, snsStore, s3Store: new S3Store() } });
  app.addHook('onClose', async () => kept.close());
  // Shows in counts what became visible since the last receive.
  app.addHook('onRequest', async (request) => {
    if (request.headers['x-amz-target'] === 'AmazonSQS.GetQueueAttributes') sqsStore.processAllTimers();
  });
  return { app, queues: sqsStore };
}

class KeptQueues extends PersistenceManager {
  constructor(dataDir: string) {
    super(dataDir);
    // Safe against the death of the process, not of the machine, at a tenth of the cost.
    this.#db.exec('PRAGMA synchronous = NORMAL');
  }

  /** As inherited, but for the receive count, which that one sets to a NULL that its own table refuses. */
  override updateMessageReady(messageId: string): void {
    this.#db
      .prepare('UPDATE sqs_messages SET receipt_handle = NULL, visibility_deadline = NULL WHERE message_id = ?')
      .run(messageId);
  }

  get #db(): DatabaseSync {
    return (this as unknown as { db: DatabaseSync }).db;
  }
}

/**
 * The inherited pattern knows no characters beyond U+FFFF, which SQS takes.
 * @source https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessageBatch.html (2026-11)
 */
const INVALID_CHAR = /[^\t\n\r\u{20}-\u{D7FF}\u{E000}-\u{FFFD}\u{10000}-\u{10FFFF}]/u;
INVALID_MESSAGE_BODY_CHAR.test = (text) => INVALID_CHAR.test(text);
