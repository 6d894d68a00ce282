"""examples/linear.c in PyTorch, as its tutorials write it; the whole process is timed."""
import torch

inputs = torch.tensor([[1.0, 2], [3, 4], [5, 6], [7, 8]])
targets = torch.tensor([[1.0], [2], [3], [4]])
net = torch.nn.Linear(2, 1)
optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
for _ in range(1000):
    optimizer.zero_grad()
    torch.nn.functional.mse_loss(net(inputs), targets).backward()
    optimizer.step()
with torch.no_grad():
    answers = net(torch.tensor([[9.0, 10], [11, 12]]))
print("%.4f %.4f" % (answers[0, 0], answers[1, 0]))
