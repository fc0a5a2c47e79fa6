/** The networks of the benchmark jobs. */
import { models, nn, type Tensor } from '../ts/index.ts'

/** Batches in, logits out. */
export type Network = nn.Module<[Tensor], Tensor>

export function mlp(): Network {
  return new nn.Sequential(
    new nn.Linear(784, 128),
    new nn.ReLU(),
    new nn.Linear(128, 64),
    new nn.ReLU(),
    new nn.Linear(64, 10),
  )
}

export function cnn(): Network {
  return new nn.Sequential(
    new nn.Conv2d(1, 32, { kernelSize: 3, padding: 1 }),
    new nn.BatchNorm2d(32),
    new nn.ReLU(),
    new nn.MaxPool2d(2),
    new nn.Conv2d(32, 64, { kernelSize: 3, padding: 1 }),
    new nn.BatchNorm2d(64),
    new nn.ReLU(),
    new nn.MaxPool2d(2),
    new nn.Flatten(),
    new nn.Linear(64 * 49, 128),
    new nn.ReLU(),
    new nn.Dropout(0.25),
    new nn.Linear(128, 10),
  )
}

/** ResNet-18 with a 3x3 stem and no pooling after it. */
export function cifarResnet18(): Network {
  return models.resnet18({ numClasses: 10, stem: 'cifar' })
}

export function resnet50(): Network {
  return models.resnet50()
}
