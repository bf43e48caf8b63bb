# python infer.py [host:port]        pip install "tritonclient[http]"
import sys

import numpy as np
import tritonclient.http as http

client = http.InferenceServerClient(sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:8080")
metadata = client.get_model_metadata("card-gru")
print(metadata["name"], metadata["versions"], "on", metadata["device"], metadata["features"])

# Two cards: a quiet payment, and one of 20 times the mean amount of 30 days; no payment before them.
payments = np.array([[20, 3.04, 0, -1, 0, 0, 3, 22, 19, 24, 78, 25, 0.8, 9.9], [500, 6.2, 0, 1, 0, 1, 9, 310, 25, 130, 84, 25, 20, 2.1]], dtype=np.float32)
x = http.InferInput("x", [2, 14], "FP32")
x.set_data_from_numpy(payments)
h = http.InferInput("h", [2, 64], "FP32")
h.set_data_from_numpy(np.zeros([2, 64], dtype=np.float32))

answer = client.infer("card-gru", [x, h], outputs=[http.InferRequestedOutput("score"), http.InferRequestedOutput("h_next")])
print("scores", answer.as_numpy("score").round(4).tolist())

# The state that came back carries on: the same payments again, as the second ones of these cards.
h.set_data_from_numpy(answer.as_numpy("h_next"))
print("scores", client.infer("card-gru", [x, h]).as_numpy("score").round(4).tolist())
