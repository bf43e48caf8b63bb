# python subscribe.py [topic]        pip install "confluent-kafka[avro,schemaregistry]"
import os
import sys

from confluent_kafka import Consumer
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

brokers = os.environ.get("HARRIER_BROKERS", "127.0.0.1:19092")
registry = os.environ.get("HARRIER_REGISTRY", "http://127.0.0.1:19081/apis/ccompat/v7")
topic = sys.argv[1] if len(sys.argv) > 1 else "card-fraud.alerts"

decode = AvroDeserializer(SchemaRegistryClient({"url": registry}))
consumer = Consumer({"bootstrap.servers": brokers, "group.id": "my-program-py", "auto.offset.reset": "earliest", "isolation.level": "read_committed"})
consumer.subscribe([topic])
while True:
    message = consumer.poll(1.0)
    if message is None or message.error():
        continue
    alert = decode(message.value(), SerializationContext(topic, MessageField.VALUE))
    print(alert["event_id"], alert["entity"], round(alert["score"], 3), alert["decision"], alert["model"], alert["attributes"]["amount"], alert["lineage"], flush=True)
